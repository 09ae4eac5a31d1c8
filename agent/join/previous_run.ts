import { readWhole } from '../../lease/common/replace_file.ts'
import type { Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { Kernel, Scope } from '../kernel/kernel.ts'
import { readPreviousNetworks, readPreviousSubnets } from '../node_files/subnet_env.ts'

/**
 * Networks and subnets that this node had in its previous run, from subnet.env; empty lists where there is no
 * such file.
 */
export async function readPreviousRun(subnetFile: string, signal: AbortSignal) {
  const subnetEnv = (await readWhole(subnetFile, signal)) ?? ''
  return {
    previousNetworks: readPreviousNetworks(subnetEnv),
    subnetsInFile: readPreviousSubnets(subnetEnv),
  }
}

/** MACs of our devices that exist already, in the order of `scope.devices`. */
export async function readDeviceMacs(
  kernel: Pick<Kernel, 'devices'>,
  scope: Scope,
  signal: AbortSignal,
): Promise<readonly (Mac | undefined)[]> {
  const links = await kernel.devices(scope, signal)
  return scope.devices.map(name => links.find(link => link.name === name)?.mac)
}

/** Destinations of our routes in the kernel. */
export async function readStandingSubnets(
  kernel: Pick<Kernel, 'snapshot'>,
  scope: Scope,
  signal: AbortSignal,
): Promise<ReadonlySet<Prefix>> {
  const entries = await kernel.snapshot(scope, signal)
  return new Set(entries.flatMap(entry => (entry.kind === 'route' ? entry.dst : [])))
}
