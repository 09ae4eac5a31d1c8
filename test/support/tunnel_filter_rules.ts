import { TunnelFilter } from '../../agent/firewall/tunnel_filter.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { run } from './exec.ts'
import { RecordingLog } from './log.ts'

/** What nft prints as JSON on a host whose agent filters flannel.1, VNI 1, for these peers. */
export async function tunnelFilterRules(peers: readonly string[]): Promise<unknown> {
  const publicIps = new Set(peers.map(parseIp))
  const tunnel = {
    device: 'flannel.1',
    vni: 1,
    port: 8472,
    underlay: 'eth0',
    peers: { publicIps, hasPublicIp: () => true },
  }
  let rules = ''
  const filter = new TunnelFilter({
    resyncMs: 0,
    tunnel: () => tunnel,
    log: new RecordingLog(),
    run: async (command, input) => {
      if (command.includes('-f')) rules = input
      return { code: 0, stdout: '', stderr: '' }
    },
  })
  await filter.pass(new AbortController().signal)
  const load = ['unshare', '--net', 'sh', '-ec', 'nft -f -; nft -j list ruleset']
  return JSON.parse(await run(load, { input: rules }))
}
