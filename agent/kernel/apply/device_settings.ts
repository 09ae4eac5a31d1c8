import type { Libc } from '../../netlink/socket/libc.ts'
import type { Link } from '../../state/entry.ts'
import { enableForwarding } from './forwarding.ts'
import { refuseRouterMessages } from './router_messages.ts'
import { setTxChecksum, type TxChecksum } from './tx_checksum.ts'

/**
 * Settings of a tunnel device that rtnetlink neither carries nor announces. They are set when the device is
 * created, and checked again whenever the devices are read.
 */
export class DeviceSettings {
  readonly #libc: Libc
  readonly #txChecksum: TxChecksum

  constructor(libc: Libc, txChecksum: TxChecksum) {
    this.#libc = libc
    this.#txChecksum = txChecksum
  }

  keep({ name, vxlan }: Link): void {
    refuseRouterMessages(name)
    enableForwarding(name)
    setTxChecksum(this.#libc, name, vxlan.underlay, this.#txChecksum)
  }
}
