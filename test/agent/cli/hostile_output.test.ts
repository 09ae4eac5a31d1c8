import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { printFindings } from '../../../agent/diagnose/doctor/finding.ts'
import { printableDocument } from '../../../lease/common/printable.ts'
import { type EtcdServer, startEtcd } from '../../support/etcd.ts'
import { twill } from '../../support/twill.ts'

/** C0, C1, a bidi override, a zero-width space, a line break, a line separator, a tag: what an attacker can put into any text. */
const hostile = '\u001b[2J\u009b31m\u202egnp\u200b\nroot: all is well\u2028\u{e0041}'
/** All that steers a terminal or shows another text than what it is; line breaks are the document's own. */
const steering = /[^\n\P{C}]|[\p{Zl}\p{Zp}]/u

describe('what twill prints of a hostile store', () => {
  let etcd: EtcdServer
  beforeAll(async () => {
    etcd = await startEtcd()
    await etcd.ctl('put', '/coreos.com/network/config', '{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}')
    const put = (key: string, value: string) => etcd.ctl('put', `/coreos.com/network/subnets/${key}`, value)
    const text = JSON.stringify(hostile)
    await put(
      '10.1.1.0-24',
      `{"PublicIP":"192.168.0.1","BackendType":${text},"BackendData":{"VNI":1,"VtepMAC":${text}}}`,
    )
    await put('10.1.2.0-24', `{"PublicIP":${text},"BackendType":"vxlan","BackendData":${text}}`)
    await put(`10.1.3.0-24${hostile}`, hostile)
    await put(`10.1.4.0-24`, 'x'.repeat(100_000))
  })
  afterAll(() => etcd.remove())

  it.each(['table', 'json', 'dot', 'svg', 'html'])(
    'as a map in %s steers no terminal and is short',
    async format => {
      const { code, out, err } = await twill(
        `map --timeout=30 --local-socket= --format=${format} --etcd-endpoints=${etcd.endpoint}`,
      )
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toContain('10.1.1.0')
      expect(out).not.toMatch(steering)
      expect(out).not.toMatch(/^root: all is well/m)
      expect(out.length).toBeLessThan(20_000)
    },
  )

  it('as JSON says what stands in the store', async () => {
    const { out } = await twill(`map --json --timeout=30 --local-socket= --etcd-endpoints=${etcd.endpoint}`)
    expect(JSON.parse(out).problems.map(({ key }: { key: string }) => key)).toContain(`10.1.3.0-24${hostile}`)
  })

  it('as an error', async () => {
    await etcd.ctl('put', '/coreos.com/network/config', `{"Network":${JSON.stringify(hostile)}}`)
    const { code, err } = await twill(`map --timeout=30 --local-socket= --etcd-endpoints=${etcd.endpoint}`)
    expect(code).not.toBe(0)
    expect(err.trimEnd()).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
    expect(err).toContain('\\u001b[2J')
  })
})

it('findings of doctor hold no line that foreign text made', () => {
  const text = printFindings(
    printableDocument([
      {
        check: hostile,
        severity: 'risk',
        what: hostile,
        evidence: hostile.repeat(1_000),
        cause: hostile,
        remedy: hostile,
      },
    ]),
  )
  expect(text).not.toMatch(steering)
  expect(text.split('\n')).toHaveLength(5)
  expect(text.length).toBeLessThan(20_000)
})
