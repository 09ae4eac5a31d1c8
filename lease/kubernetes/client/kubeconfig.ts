import { dirname, resolve } from 'node:path'
import { ExpectedError, messageOf } from '../../common/errors.ts'
import { readRegularFileSync } from '../../common/read_file.ts'
import { isRecord, textAt } from '../../json/path.ts'
import { parseYaml } from './client_library.ts'

/**
 * The Kubernetes access is misconfigured. The message names the file or variable and the remedy, never a
 * secret.
 */
export class ApiConfigError extends ExpectedError {
  override name = 'ApiConfigError'
}

/** The current context of a kubeconfig; other contexts are ignored. */
export interface Kubeconfig {
  readonly server: string
  /**
   * The fields as in the file, without `server`, `tokenFile` and fields without effect. File names are
   * absolute.
   */
  readonly cluster: Readonly<Record<string, unknown>>
  readonly user: Readonly<Record<string, unknown>>
  readonly userName: string
  readonly tokenFile: string | undefined
  /** Keys under `user` that neither client-go nor this agent knows; most are misspelt. */
  readonly unknownKeys: readonly string[]
}

const textKeys = {
  cluster: ['server', 'certificate-authority', 'certificate-authority-data', 'tls-server-name', 'proxy-url'],
  user: [
    'client-certificate',
    'client-certificate-data',
    'client-key',
    'client-key-data',
    'token',
    'tokenFile',
    'username',
    'password',
    'as',
    'as-uid',
  ],
} as const

/** Larger than any kubeconfig with its certificates. */
const MOST_BYTES = 4 * 2 ** 20

const otherUserKeys = ['as-groups', 'as-user-extra', 'auth-provider', 'exec', 'extensions']
const fileKeys = ['certificate-authority', 'client-certificate', 'client-key', 'tokenFile']

/**
 * Reads the cluster and user of the current context as client-go does: file names are relative to the
 * kubeconfig's folder, and a missing context, cluster or user is an error. Throws ApiConfigError.
 */
export function readKubeconfig(file: string): Kubeconfig {
  const refuse = (why: string): never => {
    throw new ApiConfigError(`Cannot use kubeconfig ${file}: ${why}`)
  }
  const whole = parse(file)
  const contextName = textAt(whole, 'current-context') ?? ''
  if (contextName === '') refuse('current-context is not set; name one of its contexts there')
  const context = pick(whole, 'context', contextName, 'current-context', refuse)
  const clusterName = textAt(context, 'cluster') ?? ''
  const userName = textAt(context, 'user') ?? ''
  const where = `context '${contextName}'`
  const folder = dirname(resolve(file))
  const cluster = tidy(pick(whole, 'cluster', clusterName, where, refuse), 'cluster', folder, refuse)
  const user =
    userName === '' ? {} : tidy(pick(whole, 'user', userName, where, refuse), 'user', folder, refuse)
  const { server, ...rest } = cluster
  if (typeof server !== 'string') return refuse(`cluster '${clusterName}' has no server`)
  if (user.token !== undefined && user.username !== undefined)
    refuse(`user '${userName}' has both a token and a username: remove one of them`)
  return { server, cluster: rest, userName, ...splitUser(user) }
}

function splitUser(given: Record<string, unknown>): Pick<Kubeconfig, 'user' | 'tokenFile' | 'unknownKeys'> {
  const known: readonly string[] = [...textKeys.user, ...otherUserKeys]
  const entries = Object.entries(given).filter(([key]) => known.includes(key) && key !== 'tokenFile')
  return {
    user: Object.fromEntries(entries),
    tokenFile: textAt(given, 'tokenFile'),
    unknownKeys: Object.keys(given).filter(key => !known.includes(key)),
  }
}

function parse(file: string): unknown {
  let text: string
  try {
    text = readRegularFileSync(file, MOST_BYTES)
  } catch (cause) {
    throw new ApiConfigError(`Cannot read kubeconfig ${file}: ${messageOf(cause)}`, { cause })
  }
  let whole: unknown
  try {
    whole = parseYaml(text)
  } catch (cause) {
    // No cause: its message quotes lines of the file, tokens included.
    throw new ApiConfigError(`Cannot read kubeconfig ${file}: it is no YAML${placeOf(cause)}`)
  }
  if (!isRecord(whole) || (whole.kind !== undefined && whole.kind !== 'Config'))
    throw new ApiConfigError(`Cannot read kubeconfig ${file}: it is no object of kind Config`)
  return whole
}

/**
 * The place and kind of the fault, `, line 7: bad indentation of a mapping entry`, without the text that the
 * parser quotes.
 */
function placeOf(cause: unknown): string {
  if (!isRecord(cause) || !isRecord(cause.mark) || typeof cause.mark.line !== 'number') return ''
  return `, line ${cause.mark.line + 1}: ${String(cause.reason)
    .replace(/["'<].*/s, '')
    .trim()}`
}

type Refuse = (why: string) => never

/** The one entry of that name in the list `contexts`, `clusters` or `users`. */
function pick(
  whole: unknown,
  kind: 'context' | 'cluster' | 'user',
  name: string,
  named: string,
  refuse: Refuse,
): unknown {
  const list = isRecord(whole) ? whole[`${kind}s`] : undefined
  const entries = Array.isArray(list) ? list.filter(entry => textAt(entry, 'name') === name) : []
  if (entries.length === 0)
    refuse(`${named} names the ${kind} '${name}', and ${kind}s holds none of that name`)
  if (entries.length > 1) refuse(`${kind}s holds '${name}' ${entries.length} times`)
  const [entry] = entries
  return isRecord(entry) ? (entry[kind] ?? {}) : {}
}

/** Removes empty values, which count as not given, and makes file names absolute. */
function tidy(
  value: unknown,
  kind: 'cluster' | 'user',
  folder: string,
  refuse: Refuse,
): Record<string, unknown> {
  if (!isRecord(value)) return refuse(`the ${kind} of its current context is no object`)
  if (!isTree(value))
    return refuse(
      `the ${kind} of its current context contains itself: write out what its YAML aliases stand for`,
    )
  const isGiven = (each: unknown) => each !== undefined && each !== null && each !== ''
  // As in client-go, data in the kubeconfig take precedence over the file that it names.
  const given = Object.entries(value).filter(([key, each]) => isGiven(each) && !isGiven(value[`${key}-data`]))
  const texts: readonly string[] = textKeys[kind]
  const tidied = given.map(([key, each]): [string, unknown] => {
    if (texts.includes(key) && typeof each !== 'string')
      return refuse(`${key} of its ${kind} is a ${typeof each}: put quotes around it`)
    if (fileKeys.includes(key)) return [key, resolve(folder, String(each))]
    return [key, key === 'exec' ? withPath(each, folder) : each]
  })
  return Object.fromEntries(tidied)
}

/** Whether no object contains itself, as YAML's aliases allow; no other format can hold that. */
function isTree(value: unknown): boolean {
  try {
    JSON.stringify(value)
    return true
  } catch {
    return false
  }
}

/**
 * As in client-go: a command with a slash is relative to the kubeconfig's folder; one without is searched in
 * PATH.
 */
function withPath(exec: unknown, folder: string): unknown {
  const command = textAt(exec, 'command')
  return isRecord(exec) && command?.includes('/') ? { ...exec, command: resolve(folder, command) } : exec
}
