import { ExpectedError } from '../../lease/common/errors.ts'
import { AddressError, type Family, familyOf, type Ip, parseIp } from '../../lease/net/ip.ts'

/** A setting with an invalid value. The message names the flag, the value and the rule. Exit code 1. */
export class ConfigError extends ExpectedError {
  override name = 'ConfigError'
}

export function inRange(name: string, value: number, least: number, most: number): number {
  if (value < least || value > most)
    throw new ConfigError(`--${name} is ${value}: it must be ${least} to ${most}`)
  return value
}

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

/** A Go duration, as `10s`, `500ms`, `1m30s`; a bare number is in seconds. Throws ConfigError. */
export function durationMs(flag: string, text: string): number {
  const whole = /^\d+(\.\d+)?$/.test(text) ? `${text}s` : text
  const isDuration = /^(\d+(\.\d+)?(ms|s|m|h))+$/.test(whole)
  const parts = isDuration ? [...whole.matchAll(/([\d.]+)(ms|[smh])/g)] : []
  const ms = parts.reduce(
    (sum, [, digits, unit]) => sum + Number(digits) * unitMs[unit as keyof typeof unitMs],
    0,
  )
  if (isDuration && ms <= unitMs.h * 24) return ms
  throw new ConfigError(`--${flag} is '${text}': a duration of at most 24h is needed, as 10s or 500ms`)
}

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const
