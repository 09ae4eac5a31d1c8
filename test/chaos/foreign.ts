import { setTimeout as sleep } from 'node:timers/promises'
import { flanneldMac } from './names.ts'
import { publicIpOf } from './observer.ts'
import type { Stage } from './stage.ts'

/**
 * A node that runs flanneld, as far as others can tell: it takes a free subnet by a transaction, and renews with a new
 * etcd lease and an unconditional put, also when its key has become another's (flannel's pkg/subnet/etcd/registry.go).
 */
export class Flanneld {
  readonly #stage: Stage
  readonly #ip: string
  #key: string | undefined

  constructor(stage: Stage, ip: string) {
    this.#stage = stage
    this.#ip = ip
  }

  async run(signal: AbortSignal): Promise<void> {
    const { random, scale } = this.#stage
    while (!signal.aborted) {
      // Now and then it sleeps past its lease's end, and writes all the same.
      const ms = scale.ttlSeconds * 1000 * (random.chance(0.1) ? 1.5 : 0.4)
      await sleep(ms, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      await (this.#key === undefined ? this.#acquire() : this.#renew(this.#key)).catch(() => {})
    }
  }

  async #acquire(): Promise<void> {
    const { gateway, folder, random, keys, scale } = this.#stage
    const standing = await gateway.list(folder)
    const own = standing.find(({ value }) => publicIpOf(value) === this.#ip)
    const taken = new Set(standing.map(({ key }) => key.slice(folder.length)))
    const free = keys.filter(key => !taken.has(key))
    if (own === undefined && free.length === 0) return
    const key = own?.key.slice(folder.length) ?? random.one(free)
    const leaseId = await gateway.grant(scale.ttlSeconds)
    const created = own !== undefined || (await gateway.create(folder + key, this.#value(), leaseId))
    if (created) this.#key = key
  }

  async #renew(key: string): Promise<void> {
    const { gateway, folder, scale, random } = this.#stage
    const standing = await gateway.list(folder)
    // The key's watch said that it was deleted: flanneld ends, and its supervisor starts it again.
    if (!standing.some(one => one.key === folder + key) && random.chance(0.5)) {
      this.#key = undefined
      return
    }
    await gateway.put(folder + key, this.#value(), await gateway.grant(scale.ttlSeconds))
  }

  #value(): string {
    return foreignValue(this.#ip, this.#stage.dual)
  }
}

/** What a flanneld writes, to the byte. */
export function foreignValue(ip: string, dual: boolean): string {
  const host = Number(ip.split('.').at(-1))
  const data = { VNI: 1, VtepMAC: flanneldMac(host) }
  return JSON.stringify({
    PublicIP: ip,
    PublicIPv6: dual ? `2001:db8:f::${host}` : null,
    BackendType: 'vxlan',
    BackendData: data,
    BackendV6Data: dual ? data : undefined,
  })
}
