import { printJson } from '../../lease/json/json.ts'
import { type NetworkConfig, NetworkConfigError } from '../../lease/network_config/network_config.ts'
import type { Backend } from './backend.ts'
import { hostGw } from './host_gw.ts'
import { vxlan } from './vxlan.ts'

const backends: Readonly<Record<string, (network: NetworkConfig) => Backend>> = { vxlan, 'host-gw': hostGw }

/** Throws NetworkConfigError for an unknown name, and for an option that the backend does not support. */
export function openBackend(network: NetworkConfig): Backend {
  const { type } = network.backend
  const make = Object.hasOwn(backends, type) ? backends[type] : undefined
  if (make !== undefined) return make(network)
  const known = Object.keys(backends).join(', ')
  throw new NetworkConfigError(`unknown backend type: ${printJson(type)}: Backend.Type is one of ${known}`)
}
