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
