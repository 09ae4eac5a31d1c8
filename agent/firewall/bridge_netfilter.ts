import { readFile } from 'node:fs/promises'
import { familyOf } from '../../lease/net/ip.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import { iptablesOf } from './family_words.ts'

const directory = '/proc/sys/net/bridge'

/**
 * Warns where bridged packets do not pass iptables: a Service's backend on the client's own node then answers
 * over the bridge, from its own address, and the client drops it.
 */
export async function bridgeWarning(overlay: readonly FamilySubnet[]): Promise<string | undefined> {
  for (const { network } of overlay) {
    const name = `bridge-nf-call-${iptablesOf[familyOf(network)]}`
    const text = await readFile(`${directory}/${name}`, 'utf8').catch(() => undefined)
    const remedy = bridgeRemedy(name, text)
    if (remedy !== undefined)
      return `Pods may get no answer from a Service whose backend is on their own node (${remedy.why}): ${remedy.command}`
  }
  return undefined
}

/** The remedy for one setting; undefined where it is right. `text`: content of its file, if there is one. */
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
