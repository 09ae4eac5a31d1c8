import { printJson } from '../../lease/json/json.ts'
import { NetworkConfigError } from '../../lease/network_config/network_config.ts'

export interface VxlanOptions {
  /** 24 bits (RFC 7348). */
  readonly vni: number
  /** UDP port; 8472 by default, as in the Linux kernel and in flannel. */
  readonly port: number
  /** Underlay MTU to assume in bytes; undefined: the external interface's. */
  readonly mtu: number | undefined
  readonly gbp: boolean
  readonly learning: boolean
  readonly directRouting: boolean
}

const KERNEL_PORT = 8472

/** Reads Backend of the network config, with keys in any case, as in Go. Throws NetworkConfigError. */
export function parseVxlanOptions(options: Readonly<Record<string, unknown>>): VxlanOptions {
  const values = new Map(Object.entries(options).map(([key, value]) => [key.toLowerCase(), { key, value }]))
  const number = (name: string, fallback: number, min: number, max: number): number => {
    const { key, value } = values.get(name.toLowerCase()) ?? { key: name, value: fallback }
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    throw new NetworkConfigError(
      `Backend.${key} is ${printJson(value)}: a whole number from ${min} to ${max} is needed`,
    )
  }
  const flag = (name: string): boolean => {
    const { key, value } = values.get(name.toLowerCase()) ?? { key: name, value: false }
    if (typeof value === 'boolean') return value
    throw new NetworkConfigError(`Backend.${key} is ${printJson(value)}: true or false is needed`)
  }
  return {
    vni: number('VNI', 1, 0, 0xffffff),
    port: number('Port', 0, 0, 65535) || KERNEL_PORT,
    mtu: number('MTU', 0, 0, 65535) || undefined,
    gbp: flag('GBP'),
    learning: flag('Learning'),
    directRouting: flag('DirectRouting'),
  }
}
