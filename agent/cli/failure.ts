import { isUnexpected, messageOf } from '../../lease/common/errors.ts'
import { printable } from '../../lease/common/printable.ts'
import { withoutLogins } from '../../lease/common/url_logins.ts'
import { AddressError } from '../../lease/net/ip.ts'
import { FlagError } from '../config/go_flags.ts'
import { type ExitCode, exitCode } from '../exit_code.ts'
import type { Output } from './output/output.ts'
import { StoreUnreachableError } from './source/store_unreachable.ts'

/** Longest error message, in characters: it names endpoints, and the answer of each. */
const MESSAGE = 4_000
/** Longest line of a stack: a path and a function's name. */
const PLACE = 500

/** Returns the exit code: `noAnswerCode` for an expected error, where the command has one. */
export function failed(error: unknown, err: Output, noAnswerCode: number | undefined): number {
  const isUnreachable = error instanceof StoreUnreachableError
  const remedy =
    '; name the store by --etcd-endpoints, --join or --kube-subnet-mgr, or run twill on a host of the network'
  err.write(
    `twill: ${printable(withoutLogins(messageOf(error), ''), MESSAGE)}${isUnreachable ? remedy : ''}\n`,
  )
  if (error instanceof FlagError || error instanceof AddressError) return exitCode.badFlag
  if (!isUnexpected(error) && noAnswerCode !== undefined) return noAnswerCode
  if (isUnreachable) return exitCode.storeUnreachable
  if (!isUnexpected(error)) return exitCode.startUp
  if (error instanceof Error) err.write(printStack(error))
  return exitCode.unexpected satisfies ExitCode
}

/** Only the places: the message, which stands above them, may be foreign text and was printed. */
function printStack({ message, stack = '' }: Error): string {
  const end = stack.indexOf(message) + message.length
  const places = stack
    .slice(end)
    .split('\n')
    .filter(line => /^ +at /.test(line))
  return places.map(line => `${printable(line, PLACE)}\n`).join('')
}
