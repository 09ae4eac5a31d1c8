import { readFile } from 'node:fs/promises'
import { familyOf } from '../../lease/net/ip.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'

const directory = '/proc/sys/net/bridge'

/**
 * A Service whose backend is on the client's own node answers over the bridge alone, and under the backend's address, unless
 * bridged packets pass iptables too: the client takes it for nobody's. Undefined where they do.
 */
export async function bridgeWarning(overlay: readonly FamilySubnet[]): Promise<string | undefined> {
  for (const { network } of overlay) {
    const name = `bridge-nf-call-${familyOf(network) === 'ipv6' ? 'ip6tables' : 'iptables'}`
    const text = await readFile(`${directory}/${name}`, 'utf8').catch(() => undefined)
    const remedy = bridgeRemedy(name, text)
    if (remedy !== undefined)
      return `Pods may get no answer from a Service whose backend is on their own node (${remedy.why}): ${remedy.command}`
  }
  return undefined
}

/** `text`: what the file holds; undefined where there is none. */
export function bridgeRemedy(
  name: string,
  text: string | undefined,
): { readonly why: string; readonly command: string } | undefined {
  if (text === undefined)
    return {
      why: `${directory}/${name} is missing`,
      command: 'run modprobe br_netfilter, and write br_netfilter into /etc/modules-load.d/br_netfilter.conf',
    }
  if (text.trim() === '1') return undefined
  return { why: `${directory}/${name} is ${text.trim()}`, command: `run sysctl -w net.bridge.${name}=1` }
}
