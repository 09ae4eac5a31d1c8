import type { Libc } from '../../netlink/socket/libc.ts'
import type { Link } from '../../state/entry.ts'
import { joinForwarding } from './forwarding.ts'
import { closeFrontDoor } from './front_door.ts'
import { setTxChecksum, type TxChecksum } from './tx_checksum.ts'

/**
 * Settings of a tunnel device that rtnetlink neither carries nor announces: made with the device, and again
 * at each look.
 */
export class DeviceSettings {
  readonly #libc: Libc
  readonly #txChecksum: TxChecksum

  constructor(libc: Libc, txChecksum: TxChecksum) {
    this.#libc = libc
    this.#txChecksum = txChecksum
  }

  keep({ name, vxlan }: Link): void {
    closeFrontDoor(name)
    joinForwarding(name)
    setTxChecksum(this.#libc, name, vxlan.underlay, this.#txChecksum)
  }
}
