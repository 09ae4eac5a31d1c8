import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { drawDot, drawHtml, drawSvg } from '../../../agent/map/draw_map.ts'
import { subnetMap } from '../../../agent/map/subnet_map.ts'
import type { Lease, LeaseTable } from '../../../lease/lease.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { openPage, whyNoBrowser } from '../../support/browser.ts'

const network = parseNetworkConfig('{"Network":"10.0.0.0/8","SubnetLen":24,"Backend":{"Type":"host-gw"}}')

function tableOf(nodes: number): LeaseTable {
  const leases = Array.from({ length: nodes }, (_, i): Lease => {
    const prefix = parsePrefix(`10.${1 + (i >> 8)}.${i & 255}.0/24`)
    const publicIp = parseIp(`192.168.${i >> 8}.${i & 255}`)
    return {
      node: `node-${i + 1}`,
      backendType: 'host-gw',
      since: i + 1,
      subnets: [{ prefix, publicIp, backendData: undefined }],
    }
  })
  return new Map(leases.map(lease => [lease.node, lease]))
}

const mapOf = (table: LeaseTable, problems: { key: string; reason: string }[] = []) =>
  subnetMap({ network, leases: { table, changed: new Set(), problems } }, 'etcd')

describe('a drawn map', () => {
  it('has a block with its name for each node, and one for each free run', () => {
    const svg = drawSvg(mapOf(tableOf(3)))
    expect(svg.match(/data-node="[^"]+"/g)).toEqual([
      'data-node="node-1"',
      'data-node="node-2"',
      'data-node="node-3"',
    ])
    expect(svg.match(/<g class="free">/g)).toHaveLength(2)
    expect(svg).toContain('>192.168.0.0/24 (3)<')
  })

  it.each([
    ['192.168.7.9', '192.168.7.0/24'],
    ['fd00::7', 'fd00::/64'],
    ['2001:db8:1:2:3::7', '2001:db8:1:2::/64'],
    ['2001:db8::3:0:0:7', '2001:db8::/64'],
    ['fd00:0:1:0:5:6:7:8', 'fd00:0:1::/64'],
  ])('names the underlay network of %s %s', (ip, name) => {
    const [lease] = tableOf(1).values() as Iterable<Lease>
    const subnets = lease?.subnets.map(one => ({ ...one, publicIp: parseIp(ip) })) ?? []
    const map = mapOf(new Map([['node-1', { ...lease, subnets } as Lease]]))
    expect(drawDot(map)).toContain(`  "node-1" -- "${name}"\n`)
    for (const text of [drawSvg(map), drawHtml(map)]) expect(text).toContain(`>${name} (1)<`)
  })

  it('tells a reservation from a lease that agents refuse', () => {
    const [a, b, c] = [...tableOf(3).values()] as [Lease, Lease, Lease]
    const table = [a, { ...b, backendType: 'udp' }, { ...c, backendType: '' }].map(
      one => [one.node, one] as const,
    )
    const svg = drawSvg(mapOf(new Map(table)))
    expect(svg).toContain('<g class="lease refused" data-node="node-2">')
    expect(svg).toContain('<g class="lease reserved" data-node="node-3">')
    for (const text of ['leased 1', 'refused 1', 'reserved 1']) expect(svg).toContain(`>${text}<`)
  })

  it('lets nothing that a store holds out of its text', () => {
    const [lease] = tableOf(1).values()
    const hostile: LeaseTable = new Map([['x', { ...(lease as Lease), node: '"><script>alert(1)</script>' }]])
    const problems = [{ key: '<img src=x onerror=alert(1)>', reason: 'junk' }]
    for (const text of [drawSvg(mapOf(hostile)), drawHtml(mapOf(hostile, problems))]) {
      expect(text).not.toContain('<script>alert')
      expect(text).not.toContain('<img')
    }
    expect(drawDot(mapOf(hostile))).toContain('"\\"><script>alert(1)</script>"')
  })
})

/** The page served as an agent serves it, which changes meanwhile. */
async function served(pages: readonly string[]) {
  let asked = 0
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(pages[Math.min(asked++, pages.length - 1)])
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

const why = whyNoBrowser()
if (why !== undefined) console.warn(`drawn maps are not looked at: ${why}`)

describe.skipIf(why !== undefined)('a drawn map in a browser', () => {
  const directory = mkdtempSync(join(tmpdir(), 'twill-map-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it.each([3, 5000])(
    'is readable and searchable with %d nodes, in light and dark',
    { timeout: 600_000 },
    async nodes => {
      const file = join(directory, `${nodes}.html`)
      writeFileSync(file, drawHtml(mapOf(tableOf(nodes))))
      for (const dark of [false, true]) {
        const { dom, console, colors } = await openPage(`${pathToFileURL(file)}#node-3`, dark)
        expect(console).toEqual([])
        expect(dom).toMatch(/<g class="lease[^"]* found" data-node="node-3">/)
        expect(colors).toBeGreaterThan(20)
      }
    },
  )
  it('follows the network where an agent serves it, as long as that answers', {
    timeout: 600_000,
  }, async () => {
    const { server, url } = await served([1, 3].map(nodes => drawHtml(mapOf(tableOf(nodes)))))
    const { dom, console } = await openPage(url)
    server.close()
    expect(console).toEqual([])
    expect(dom).toContain('data-node="node-3"')
    expect(dom).not.toContain('<body class="stale"')
  })
})
