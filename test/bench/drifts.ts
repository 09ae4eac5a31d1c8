import type { Family } from '../../lease/net/ip.ts'
import type { Command } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { type MadeUpPeer, madeUpPeer } from './peers.ts'

/** What another program does, and what `ip monitor` says of it and of its repair. */
export interface Drift {
  readonly act: Command
  readonly gone: RegExp
  readonly back: RegExp
}

export interface DriftKind {
  readonly name: string
  /** Traffic does not notice. */
  readonly harmless?: true
  /** The n-th, of another entry each where there are several. */
  at(n: number): Drift
}

/** A host's end of the tunnel, in the words of its peers, and its device. */
export interface OwnVtep extends MadeUpPeer {
  readonly device: string
  readonly family: Family
  readonly deviceMtu: number
}

export async function ownVtep(host: Host, family: Family): Promise<OwnVtep> {
  const device = family === 'ipv6' ? 'flannel-v6.1' : 'flannel.1'
  const [link] = JSON.parse(await host.exec(['ip', '-json', 'address', 'show', device])) as {
    address: string
    mtu: number
    addr_info: { family: string; scope: string; local: string }[]
  }[]
  const own = link?.addr_info.find(
    ({ family: name, scope }) => name === (family === 'ipv6' ? 'inet6' : 'inet') && scope === 'global',
  )
  if (link === undefined || own === undefined)
    throw new Error(`${host.name} has no ${device} with an address`)
  const subnet = `${own.local}/${family === 'ipv6' ? 64 : 24}`
  const publicIp = host.address(family)
  return { device, family, subnet, gateway: own.local, mac: link.address, publicIp, deviceMtu: link.mtu }
}

/** Of single entries: those of made-up peers in turn, unless `peer` is given. */
export function entryDrifts(family: Family, own: OwnVtep | undefined, peer?: MadeUpPeer): DriftKind[] {
  if (own === undefined) return []
  const { device } = own
  const nth = (n: number) => peer ?? madeUpPeer(n, family)
  const ip = (...words: string[]) => ['ip', family === 'ipv6' ? '-6' : '-4', ...words]
  return [
    {
      name: 'FDB entry',
      at: n => {
        const { mac, publicIp } = nth(n)
        const text = `${publicIp} dev ${device} lladdr ${mac}`
        return { act: ['bridge', 'fdb', 'del', mac, 'dev', device, 'dst', publicIp], ...lines(text) }
      },
    },
    {
      name: 'neighbor',
      at: n => {
        const { gateway, mac } = nth(n)
        const back = new RegExp(`^${gateway} dev ${device} lladdr ${mac} .*PERMANENT`)
        return {
          act: ip('neigh', 'del', gateway, 'dev', device),
          // One that packets are waiting for is not deleted, only failed, until it is put again.
          gone: new RegExp(`^(Deleted )?${gateway} dev ${device} +FAILED`),
          back,
        }
      },
    },
    {
      name: 'route',
      at: n => {
        const { subnet } = nth(n)
        return { act: ip('route', 'del', subnet), ...lines(`${subnet} via`) }
      },
    },
    {
      name: 'foreign address',
      harmless: true,
      at: n => {
        const address = family === 'ipv6' ? `fd99::${(n + 1).toString(16)}` : `10.99.0.${n + 1}`
        const { gone: back, back: gone } = addressLines(device, address)
        const length = family === 'ipv6' ? 128 : 32
        return { act: ip('address', 'add', `${address}/${length}`, 'dev', device), gone, back }
      },
    },
  ]
}

/** Of what there is only one of. */
export function linkDrifts(own: OwnVtep | undefined): DriftKind[] {
  if (own === undefined) return []
  const { device, family, gateway, mac, deviceMtu } = own
  const length = family === 'ipv6' ? 128 : 32
  const link = (...words: string[]) => ['ip', 'link', 'set', device, ...words]
  const head = `^\\d+: ${device}: `
  const changed = (gone: string, back: string) => ({
    gone: new RegExp(head + gone),
    back: new RegExp(head + back),
  })
  return [
    {
      name: 'own address',
      harmless: true,
      at: () => ({
        act: ['ip', 'address', 'del', `${gateway}/${length}`, 'dev', device],
        ...addressLines(device, gateway),
      }),
    },
    {
      name: 'link down',
      at: () => ({ act: link('down'), ...changed('<BROADCAST,MULTICAST>', '<BROADCAST,MULTICAST,UP') }),
    },
    {
      name: 'link MAC',
      at: n => {
        const other = `02:99:99:99:99:${(n + 1).toString(16).padStart(2, '0')}`
        return { act: link('address', other), ...changed(`.*ether ${other}`, `.*ether ${mac}`) }
      },
    },
    {
      name: 'link MTU',
      at: n => ({ act: link('mtu', `${1300 + n}`), ...changed(`.*mtu ${1300 + n} `, `.*mtu ${deviceMtu} `) }),
    },
  ]
}

function lines(text: string): Pick<Drift, 'gone' | 'back'> {
  return { gone: new RegExp(`^Deleted ${text}`), back: new RegExp(`^${text}`) }
}

function addressLines(device: string, address: string): Pick<Drift, 'gone' | 'back'> {
  const text = `\\d+: ${device} +inet6? ${address}/`
  return { gone: new RegExp(`^Deleted ${text}`), back: new RegExp(`^${text}`) }
}
