import { describe, expect, it } from 'vitest'
import { endpointAddresses } from '../../../agent/underlay/endpoint_addresses.ts'

const { signal } = new AbortController()

describe('the addresses of a store', () => {
  it('are those in its URLs and those that their names have, once each', async () => {
    const urls = ['http://10.0.0.1:2379', 'https://[fd00::1]:2379', 'http://10.0.0.1:4001']
    expect(await endpointAddresses(urls, signal)).toEqual(['10.0.0.1', 'fd00::1'])
    expect(await endpointAddresses(['http://localhost:2379'], signal)).toContain('127.0.0.1')
  })

  it('are none where a name cannot be resolved', async () => {
    expect(await endpointAddresses(['http://no-such-host.invalid:2379'], signal)).toEqual([])
  })
})
