import { describe, expect, it } from 'vitest'
import type { ProbeFinding, ProbeResult } from '../../agent/diagnose/probes/probe_result.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

type Probed = ProbeResult & { readonly finding: ProbeFinding | null }

describe.skipIf(why !== undefined)('twill probe', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []

  const probe = async (): Promise<{ code: number | null; results: Probed[] }> => {
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const words = [process.execPath, 'dist/twill.js', 'probe', '--json', '--timeout=30', store]
    const { stdout, stderr, code } = await (h1 as Host).attempt(words)
    if (!stdout.startsWith('[')) throw new Error(`twill probe said ${code}: ${stdout}${stderr}`)
    return { code, results: JSON.parse(stdout) }
  }
  const found = async () => (await probe()).results[0]?.finding?.what ?? ''
  const during = (act: string, undo: string, check: () => Promise<void>) =>
    (h2 as Host).during(act, undo, check)

  sharedByTests(async () => {
    overlay = await overlayBed('probe', ['h1', 'h2'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    ;[h1, h2] = overlay.hosts
    await overlay.startAgents()
    // The agents listen on the overlay's address some seconds after it is there, at the latest.
    await until('probes to be answered', async () => typeof (await probe()).results[0]?.bulk === 'object')
    return overlay
  })

  it('finds nothing on sound ways, and tells what they carry', async () => {
    const sound = expect.objectContaining({
      publicIp: h2?.address(),
      underlayMs: expect.any(Number),
      overlayMs: expect.any(Number),
      underlayCarries: 1500,
      overlayCarries: 1450,
      ways: { lossThere: 0, lossBack: 0, carriesThere: 1450, carriesBack: 1450 },
      bulk: { mbitPerSecond: expect.any(Number) },
      finding: null,
    })
    let said: Awaited<ReturnType<typeof probe>> | undefined
    // A busy machine may answer a probe too late, which is a loss.
    await until(
      'a probe that loses nothing',
      async () => {
        said = await probe()
        return said.code === 0 && sound.asymmetricMatch(said.results[0])
      },
      { withinMs: 90_000, otherwise: () => JSON.stringify(said) },
    )
    expect(said?.results).toEqual([sound])
  })

  it('tells a host that is down', async () => {
    await during('ip link set eth0 down', 'ip link set eth0 up', async () => {
      expect(await found()).toMatch(/answers neither on .* nor over the overlay/)
    })
    await until('the way to be sound again', async () => (await probe()).code === 0)
  })

  it('tells that the UDP packets of the tunnel are lost', async () => {
    const [act, undo] = ['A', 'D'].map(verb => `iptables -${verb} INPUT -p udp --dport 8472 -j DROP`) as [
      string,
      string,
    ]
    await during(act, undo, async () => {
      expect(await found()).toMatch(/answers on .* and not over the overlay/)
    })
  })

  it('finds what the way really carries', async () => {
    const drop = (verb: string) =>
      `iptables -t raw -${verb} PREROUTING -p udp --dport 8472 -m length --length 1401: -j DROP`
    await during(drop('A'), drop('D'), async () => {
      const { results } = await probe()
      expect(results[0]).toMatchObject({ overlayCarries: 1350, underlayCarries: 1500 })
      expect(results[0]?.finding?.remedy).toContain('"MTU": 1400')
    })
  })

  it('tells the one way from the other: what it carries, and what is lost', async () => {
    const drop = (verb: string) =>
      `iptables -t raw -${verb} OUTPUT -p udp --dport 8472 -m length --length 1401: -j DROP`
    await during(drop('A'), drop('D'), async () => {
      const [result] = (await probe()).results
      expect(result?.ways).toMatchObject({ carriesThere: 1450, carriesBack: 1350 })
      expect(result?.finding?.what).toMatch(/carries packets of 1450 bytes to .* and 1350 bytes from it/)
    })
    for (const [chain, ports, way] of [
      ['INPUT', '-i flannel.1 -p udp --dport 8473', /on the way to 10/],
      ['OUTPUT', '-o flannel.1 -p udp --sport 8473', /on the way from 10/],
    ] as const) {
      const lose = (verb: string) =>
        `iptables -${verb} ${chain} ${ports} -m statistic --mode nth --every 2 --packet 0 -j DROP`
      await during(lose('I'), lose('D'), async () => {
        const [result] = (await probe()).results
        expect(result?.finding?.remedy, JSON.stringify(result)).toMatch(way)
      })
    }
  })

  it('is made by the agent where one is asked, and printed as a row a way', async () => {
    const said = await (h1 as Host).attempt([
      process.execPath,
      'dist/twill.js',
      'probe',
      '--wide',
      `--local-socket=${h1?.localSocket}`,
    ])
    expect(said.stdout).toMatch(
      /^NODE .* LOSS .*\n10\.\S+ .* 1450 \/ 1450 +0 \/ 0 % .*\n\n1 of 1 ways are sound\n$/,
    )
    expect(said.code).toBe(0)
    const other = await (h1 as Host).attempt([
      process.execPath,
      'dist/twill.js',
      'probe',
      'n9',
      `--local-socket=${h1?.localSocket}`,
    ])
    expect(other.stderr).toBe("twill: There is no peer 'n9' that can be probed: twill map lists the nodes\n")
  })

  it('tells that TCP hangs where ping works', async () => {
    const drop = (verb: string) =>
      `iptables -${verb} INPUT -i flannel.1 -p tcp --dport 8473 -m length --length 200: -j DROP`
    await during(drop('I'), drop('D'), async () => {
      expect(await found()).toMatch(/ping reaches .* and TCP hangs/)
    })
  })

  it('are answered to no one but admitted peers, inside the overlay only', async () => {
    const listening = await h2?.exec(['ss', '-Hlnt', 'sport = :8473'])
    expect(listening?.trim().split('\n')).toHaveLength(1)
    const pod = await h1?.pod()
    const vtep = h2?.subnetEnv().FLANNEL_SUBNET?.replace(/\.1\/24$/, '.0') ?? ''
    const talk = `require('net').connect(8473,'${vtep}').on('data',d=>console.log(String(d))).on('close',()=>console.log('closed')).on('error',()=>{}).write(Buffer.from([0,0,0,1,7]))`
    expect((await pod?.attempt([process.execPath, '-e', talk]))?.stdout).toBe('closed\n')
  })
})
