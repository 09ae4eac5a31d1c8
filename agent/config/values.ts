import { ExpectedError } from '../../lease/common/errors.ts'
import { AddressError, type Family, familyOf, type Ip, parseIp } from '../../lease/net/ip.ts'

/** A setting whose value breaks a rule. The message names the flag, the value and the rule. Exit code 1. */
export class ConfigError extends ExpectedError {
  override name = 'ConfigError'
}

export function inRange(name: string, value: number, least: number, most: number): number {
  if (value < least || value > most)
    throw new ConfigError(`--${name} is ${value}: it must be ${least} to ${most}`)
  return value
}

/** Undefined where the flag is empty. */
export function address(name: string, text: string, family: Family): Ip | undefined {
  if (text === '') return undefined
  const ip = requiredAddress(name, text)
  if (familyOf(ip) !== family) throw new ConfigError(`--${name} is '${ip}': it must be an ${family} address`)
  return ip
}

export function requiredAddress(name: string, text: string): Ip {
  try {
    return parseIp(text)
  } catch (cause) {
    if (!(cause instanceof AddressError)) throw cause
    throw new ConfigError(`--${name}: ${cause.message}`, { cause })
  }
}

export function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

/** `10s`, `500ms`, `2m`, as Go writes a duration of one unit; a bare number counts seconds. Throws ConfigError. */
export function durationMs(flag: string, text: string): number {
  const [, digits, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? []
  const ms = Number(digits) * ({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit] ?? Number.NaN)
  if (Number.isFinite(ms) && ms <= 86_400_000) return ms
  throw new ConfigError(`--${flag} is '${text}': a duration of at most 24h is needed, as 10s or 500ms`)
}
