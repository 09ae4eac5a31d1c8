import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf } from '../../../lease/net/ip.ts'
import { deviceSetting } from '../../state/device_setting.ts'
import type { HostFacts } from '../host_facts.ts'
import { type Flow, lookUp } from '../route_lookup.ts'
import type { Hop } from './hop.ts'

/** The larger value of `all` and the device counts (ip-sysctl). IPv6 has no such filter. */
export function reversePath(step: string, facts: HostFacts, flow: Flow, device: string): Hop | undefined {
  const names = ['all', device].map(one => deviceSetting(familyOf(flow.dst), one, 'rp_filter'))
  if (!names.some(name => name in facts.sysctls)) return undefined
  const values = names.map(name => Number(facts.sysctls[name] ?? 0))
  const [strictest] = names.filter((_, i) => values[i] === Math.max(...values))
  const used = `${strictest} = ${Math.max(...values)}`
  if (Math.max(...values) !== 1) return { step, state: 'ok', used }
  const back = lookUp(facts, flow).route?.dev
  if (back === device) return { step, state: 'ok', used }
  const why = `answers of ${flow.dst} come in by ${device}, but the host would send to it by ${back ?? 'no device'}: strict filtering drops them`
  const remedy = shellQuote('sysctl', '-w', `${names[1]}=2`, `${names[0]}=0`)
  return { step, state: 'broken', used, why, remedy }
}
