import { describe, expect, it } from 'vitest'
import { wantedTxChecksum } from '../../../../agent/kernel/apply/tx_checksum.ts'

describe('checksums by hardware', () => {
  it.each([
    ['auto', '5.6.19', undefined, 'off'],
    ['auto', '4.19.0-27-amd64', undefined, 'off'],
    ['auto', '5.7.0', undefined, undefined],
    ['auto', '6.18.1', 'virtio_net', undefined],
    ['auto', '6.18.1', 'vmxnet3', 'off'],
    ['on', '5.6.19', 'vmxnet3', 'on'],
    ['off', '6.18.1', undefined, 'off'],
  ] as const)('%s on Linux %s with driver %s: %s', (mode, release, driver, wanted) => {
    expect(wantedTxChecksum(mode, release, driver)).toBe(wanted)
  })
})
