import type { Log } from '../../lease/common/log.ts'
import type { Attempt } from '../reconcile/attempts.ts'

/** So many keys are named at once; beyond, their number has to do. */
const NAMED = 10

/**
 * Who is known to change entries that are not its own, by kind, and the file below manifests/systemd/ that tells it not to.
 *
 * - systemd-networkd removes routes (and rules) that it did not make, unless ManageForeignRoutes=no (networkd.conf(5)), and
 *   sets up devices that a .network file matches, `Name=*` for one.
 * - udev gives a device another MAC (MACAddressPolicy=persistent of 99-default.link, systemd.link(5)).
 * - NetworkManager takes over devices that it was not told to leave alone, dhcpcd every one that it sees.
 */
const suspects: Readonly<Record<string, string>> = {
  link: "udev's MACAddressPolicy (networkd/10-overlay.link), systemd-networkd (networkd/10-overlay-unmanaged.network), NetworkManager (NetworkManager/10-overlay-unmanaged.conf)",
  address:
    'dhcpcd (dhcpcd/dhcpcd.conf), NetworkManager (NetworkManager/10-overlay-unmanaged.conf), systemd-networkd (networkd/10-overlay-unmanaged.network)',
  route:
    "systemd-networkd's ManageForeignRoutes (networkd/networkd.conf.d-foreign-routes.conf), NetworkManager (NetworkManager/10-overlay-unmanaged.conf), dhcpcd (dhcpcd/dhcpcd.conf)",
  neighbor: 'a second agent of this network (flanneld, k3s) on this host',
  fdb: 'a second agent of this network (flanneld, k3s) on this host',
}

/** Names what somebody else keeps undoing, how often, and who that may be: once when it starts, once when it is over. */
export class ContestLog {
  readonly #log: Log
  readonly #said = new Set<string>()

  constructor(log: Log) {
    this.#log = log
  }

  write(contested: ReadonlyMap<string, Attempt>): void {
    const fresh = [...contested].filter(([key]) => !this.#said.has(key))
    for (const [key, { count }] of fresh.slice(0, NAMED))
      this.#log.warn({ entry: key, repaired: count }, advice(key))
    if (fresh.length > NAMED)
      this.#log.warn({ entries: fresh.length - NAMED }, 'somebody keeps changing more entries of ours')
    for (const [key] of fresh) this.#said.add(key)
    for (const key of this.#said) {
      if (contested.has(key)) continue
      this.#said.delete(key)
      this.#log.info({ entry: key }, 'nobody changes this entry any more')
    }
  }
}

function advice(key: string): string {
  const kind = key.slice(0, key.indexOf(' '))
  return `somebody keeps changing ${key}: repaired with back-off from now on. Known to do that: ${suspects[kind]}; the files that stop them are in manifests/systemd/`
}
