import type { Log } from '../../../lease/common/log.ts'
import { AddressError, allFamilies, familyOf, type Ip, parseIp } from '../../../lease/net/ip.ts'
import { type Prefix, parsePrefix } from '../../../lease/net/prefix.ts'
import { openReservations } from '../../../lease/registry.ts'
import type { Reservations } from '../../../lease/reservations.ts'
import { FlagError, list, seconds } from '../../config/go_flags.ts'
import { type CommandContext, command } from '../definition/command.ts'
import { answering, askStore } from '../source/read_store.ts'

const subnetFlags = {
  subnet: list('the subnet, as 10.244.5.0/24; once a family'),
  timeout: seconds(4, 1, 'seconds to wait for the store'),
}
const reserveFlags = { ...subnetFlags, 'public-ip': list("the node's public IP; once a family") }

/** `twill reserve`: a lease that never expires, for a node that may be away for days. */
export const reserve = command({ flags: reserveFlags, readsStore: true }, async (values, context) => {
  const subnets = needed('subnet', values.subnet, parsePrefix)
  const publicIps = needed('public-ip', values['public-ip'], parseIp)
  refuseUnpaired(subnets, publicIps)
  const came = await ask(values.timeout, context, (store, signal) =>
    store.reserve(subnets, publicIps, signal),
  )
  const words = came === 'reserved' ? 'is reserved' : 'was reserved already'
  context.out.write(`${subnets.join(' + ')} ${words} for ${publicIps.join(' + ')}\n`)
  return 0
})

/** `twill release`: the subnet becomes free, or stays its node's while the node renews it. */
export const release = command({ flags: subnetFlags, readsStore: true }, async (values, context) => {
  const subnets = needed('subnet', values.subnet, parsePrefix)
  const came = await ask(values.timeout, context, (store, signal) => store.release(subnets, signal))
  const words =
    came === 'removed' ? 'is free' : 'is an ordinary lease again: it stays as long as its node renews it'
  context.out.write(`${subnets.join(' + ')} ${words}\n`)
  return 0
})

/** Throws FlagError, which names the flag. */
function needed<T>(flag: string, texts: readonly string[], parse: (text: string) => T): readonly T[] {
  if (texts.length === 0) throw new FlagError(`--${flag} is missing`)
  return texts.map(text => {
    try {
      return parse(text)
    } catch (cause) {
      if (!(cause instanceof AddressError)) throw cause
      throw new FlagError(`--${flag}: ${cause.message}`, { cause })
    }
  })
}

/** A node has one public IP for each of its subnets, of the same family. Throws FlagError. */
function refuseUnpaired(subnets: readonly Prefix[], publicIps: readonly Ip[]): void {
  for (const family of allFamilies) {
    const prefixes = subnets.filter(one => familyOf(one) === family)
    const [wanted, given] = [prefixes.length, publicIps.filter(one => familyOf(one) === family).length]
    if (wanted > 1)
      throw new FlagError(`--subnet: ${prefixes.join(' and ')} are of one family, a node has one of each`)
    if (wanted !== given)
      throw new FlagError(
        `--public-ip: ${given} ${family} addresses are given for ${wanted} ${family} subnets, one each is needed`,
      )
  }
}

async function ask<T>(
  timeoutSeconds: number,
  { store }: CommandContext,
  act: (store: Reservations, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const options = store()
  if (options.kind !== 'etcd')
    throw new FlagError("--kube-subnet-mgr: a Node's podCIDR is its own for good, only etcd has reservations")
  const timeoutMs = timeoutSeconds * 1000
  const one = await answering(options, timeoutMs)
  const open = (log: Log) => openReservations(one, log)
  return await askStore(open, timeoutMs, (reservations, says, signal) => {
    says('change the reservation')
    return act(reservations, signal)
  })
}
