import { readlinkSync } from 'node:fs'
import { release } from 'node:os'
import { basename } from 'node:path'
import { orUndefined } from '../../../lease/common/errors.ts'
import { type Libc, LibcError } from '../../netlink/socket/libc.ts'

/** Whether the hardware makes a tunnel device's checksums. `auto`: not where that is known to hang TCP. */
export type TxChecksum = 'auto' | 'on' | 'off'

/** Drivers whose hardware sends wrong checksums inside VXLAN on ports other than 4789. */
const faultyDrivers = new Set(['vmxnet3'])

/** What to switch a device to; undefined: leave it to the operator. */
export function wantedTxChecksum(
  mode: TxChecksum,
  kernelRelease: string,
  driver: string | undefined,
): 'on' | 'off' | undefined {
  if (mode !== 'auto') return mode
  return isFaultyKernel(kernelRelease) || faultyDrivers.has(driver ?? '') ? 'off' : undefined
}

/** Linux before 5.7, where commit ea64d8d6c675 fixed it. */
export function isFaultyKernel(kernelRelease: string): boolean {
  const [major = 0, minor = 0] = kernelRelease.split('.').map(Number)
  return major < 5 || (major === 5 && minor < 7)
}

/** Where the kernel refuses, the device stays as it is: `twill probe` finds connections that hang. */
export function setTxChecksum(libc: Libc, device: string, underlay: string, mode: TxChecksum): void {
  const wanted = wantedTxChecksum(mode, release(), driverOf(underlay))
  if (wanted === undefined) return
  try {
    if (libc.txChecksum(device) !== (wanted === 'on')) libc.setTxChecksum(device, wanted === 'on')
  } catch (error) {
    if (!(error instanceof LibcError)) throw error
  }
}

/** Undefined for a virtual interface. sysfs shows the network namespace in which it was mounted. */
function driverOf(device: string): string | undefined {
  return orUndefined(() => basename(readlinkSync(`/sys/class/net/${device}/device/driver`)))
}
