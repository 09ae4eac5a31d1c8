import type { Log } from '../../../lease/common/log.ts'
import type { NamedContest } from '../../reconcile/contests.ts'

/**
 * Programs known to change foreign entries, by kind, and the file below manifests/systemd/ that prevents it.
 *
 * - systemd-networkd removes foreign routes and rules, unless ManageForeignRoutes=no (networkd.conf(5)), and
 *   sets up devices that a .network file matches, such as `Name=*`.
 * - udev gives a device another MAC (MACAddressPolicy=persistent of 99-default.link, systemd.link(5)).
 * - NetworkManager takes over devices unless told to leave them alone, dhcpcd every device that it sees.
 */
const suspects: Readonly<Record<NamedContest['kind'], string>> = {
  link: "udev's MACAddressPolicy (networkd/10-overlay.link), systemd-networkd (networkd/10-overlay-unmanaged.network), NetworkManager (NetworkManager/10-overlay-unmanaged.conf)",
  address:
    'dhcpcd (dhcpcd/dhcpcd.conf), NetworkManager (NetworkManager/10-overlay-unmanaged.conf), systemd-networkd (networkd/10-overlay-unmanaged.network)',
  route:
    "systemd-networkd's ManageForeignRoutes (networkd/networkd.conf.d-foreign-routes.conf), NetworkManager (NetworkManager/10-overlay-unmanaged.conf), dhcpcd (dhcpcd/dhcpcd.conf)",
  neighbor: 'a second agent of this network (flanneld, k3s) on this host',
  fdb: 'a second agent of this network (flanneld, k3s) on this host',
}

/** Logs when another program starts and stops undoing an entry. */
export class ContestLog {
  readonly #log: Log
  /** Lines already logged, by cause. */
  readonly #said = new Map<string, string>()

  constructor(log: Log) {
    this.#log = log
  }

  write(contested: ReadonlyMap<string, NamedContest>): void {
    for (const [cause, { entries, kind, count }] of contested) {
      if (this.#said.has(cause)) continue
      this.#said.set(cause, entries)
      this.#log.warn({ entries, repaired: count }, advice(entries, kind))
    }
    for (const [cause, entries] of this.#said) {
      if (contested.has(cause)) continue
      this.#said.delete(cause)
      this.#log.info({ entries }, 'no other program changes these entries any more')
    }
  }
}

function advice(entries: string, kind: NamedContest['kind']): string {
  return `another program keeps changing ${entries}: each time repaired. Known to do that: ${suspects[kind]}; the files that stop them are in manifests/systemd/`
}
