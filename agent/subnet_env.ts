import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { AddressError, type Family, familyOf } from '../lease/net/ip.ts'
import { addressAt, type Prefix, parsePrefix, prefixLength } from '../lease/net/prefix.ts'

/**
 * What the CNI plugin, Docker's mk-docker-opts.sh and others read of this node: flannel's subnet.env. It must stand before a
 * pod starts.
 */
export interface SubnetEnv {
  /** One or two, IPv4 first: the whole overlay's prefix and this node's. */
  readonly families: readonly { readonly network: Prefix; readonly subnet: Prefix }[]
  /** In bytes: what a pod's interface may carry. */
  readonly overlayMtu: number
  /** Whether the agent masquerades; false makes the CNI plugin do it. */
  readonly ipMasq: boolean
}

/** subnet.env could not be written. The message names the file and the remedy. */
export class SubnetEnvError extends Error {
  override name = 'SubnetEnvError'
}

const names: Readonly<Record<Family, { network: string; subnet: string }>> = {
  ipv4: { network: 'FLANNEL_NETWORK', subnet: 'FLANNEL_SUBNET' },
  ipv6: { network: 'FLANNEL_IPV6_NETWORK', subnet: 'FLANNEL_IPV6_SUBNET' },
}

/** The subnet is written as its first host address with the length: a bridge takes it as its own address. */
export function renderSubnetEnv({ families, overlayMtu, ipMasq }: SubnetEnv): string {
  const lines = families.flatMap(({ network, subnet }) => {
    const name = names[familyOf(network)]
    return [`${name.network}=${network}`, `${name.subnet}=${addressAt(subnet, 1)}/${prefixLength(subnet)}`]
  })
  return [...lines, `FLANNEL_MTU=${overlayMtu}`, `FLANNEL_IPMASQ=${ipMasq}`, ''].join('\n')
}

/** Subnets of an earlier life. What cannot be read is passed over: the file is a hint. */
export function readPreviousSubnets(text: string): readonly Prefix[] {
  const wanted = Object.values(names).map(({ subnet }) => subnet)
  return text.split('\n').flatMap(line => {
    const equals = line.indexOf('=')
    if (!wanted.includes(line.slice(0, equals).trim())) return []
    return line
      .slice(equals + 1)
      .split(',')
      .flatMap(prefixOrNone)
  })
}

/** The file's text; undefined where there is none, or none that can be read. */
export async function readSubnetEnv(path: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await readFile(path, { encoding: 'utf8', signal })
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Error) return undefined
    throw error
  }
}

/**
 * Writes the file whole or not at all: a reader sees the old text or the new one. Returns false where it says so already.
 * Throws SubnetEnvError.
 */
export async function writeSubnetEnv(path: string, text: string, signal: AbortSignal): Promise<boolean> {
  if ((await readSubnetEnv(path, signal)) === text) return false
  // One name: what a killed agent left behind is overwritten.
  const draft = `${path}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    await writeDraft(draft, text)
    await rename(draft, path)
    return true
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => {})
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new SubnetEnvError(
      `Cannot write ${path}: ${reason}; pods get no network until this directory can be written to`,
      { cause },
    )
  }
}

/** On a full tmpfs an empty file is made and renamed without an error: the size is what tells. */
async function writeDraft(draft: string, text: string): Promise<void> {
  const file = await open(draft, 'w', 0o644)
  try {
    await file.writeFile(text)
    await file.chmod(0o644)
    await file.sync()
  } finally {
    await file.close()
  }
  const { size } = await stat(draft)
  if (size !== Buffer.byteLength(text))
    throw new SubnetEnvError(`${draft} holds ${size} bytes of ${text.length}`)
}

function prefixOrNone(text: string): readonly Prefix[] {
  try {
    return [parsePrefix(text.trim())]
  } catch (error) {
    if (error instanceof AddressError) return []
    throw error
  }
}
