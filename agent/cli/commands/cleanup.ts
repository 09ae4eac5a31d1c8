import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { ExpectedError } from '../../../lease/common/errors.ts'
import { printable } from '../../../lease/common/printable.ts'
import { readWhole } from '../../../lease/common/replace_file.ts'
import type { Prefix } from '../../../lease/net/prefix.ts'
import { openBackend } from '../../backend/registry.ts'
import { vxlanDevices } from '../../backend/vxlan.ts'
import { agentPath } from '../../config/flags.ts'
import { bool, FlagError, type FlagValues, list, seconds } from '../../config/go_flags.ts'
import { type RunCommand, runCommand } from '../../firewall/command.ts'
import { removeFirewall } from '../../firewall/firewall.ts'
import { removeTunnelFilter } from '../../firewall/tunnel_filter.ts'
import { deviceClaims, fileClaims, networkClaims } from '../../instance/claims.ts'
import { type Claim, findHolder } from '../../instance/lock.ts'
import { requireNetAdmin } from '../../kernel/capability.ts'
import { NetlinkKernel } from '../../kernel/netlink_kernel.ts'
import { readPreviousNetworks } from '../../node_files/subnet_env.ts'
import { leftovers, printResult } from '../../reconcile/leftovers.ts'
import { printOperation } from '../../state/operation.ts'
import { TWILL_PROTOCOL } from '../../state/ownership.ts'
import { type CommandContext, command } from '../definition/command.ts'
import { readStoreOrLastSeen } from '../source/last_seen.ts'

const flags = {
  yes: bool(false, 'remove it; without this flag, what would be removed is printed'),
  vni: list('VNI of the devices to remove; without one, the VNI of the network config in the store'),
  'subnet-file': agentPath('subnet-file'),
  'cache-file': agentPath('cache-file'),
  'cni-conf-file': agentPath('cni-conf-file', ', where it had one'),
  timeout: seconds(4, 1, 'seconds to wait for the store'),
}

/** Longest line, in characters: an error of the kernel may name another program. */
const LONGEST = 1_000

/**
 * `twill cleanup`: removes what an agent left on this node, and nothing else: devices, routes with twilld's
 * protocol number, firewall rules, files. The operator must stop the agent first. The node's lease stays in
 * the store, where it expires.
 */
export const cleanup = command({ flags, readsStore: true }, async (values, context) => {
  requireNetAdmin()
  const { signal } = new AbortController()
  const { 'subnet-file': subnetFile, 'cache-file': cacheFile, 'cni-conf-file': cniFile } = values
  const named = readPreviousNetworks((await readWhole(subnetFile, signal)) ?? '')
  const { devices, networks } = await ours(values, named, context)
  const scope = { devices, routeProtocol: TWILL_PROTOCOL, networks }
  const files = [subnetFile, cacheFile, cniFile].filter(path => path !== '' && path !== 'none')
  // A subnet file that names only other networks is another agent's.
  if (named.length > 0 && !named.some(network => networks.includes(network))) {
    context.out.write(`${subnetFile} is another network's: left alone\n`)
    files.shift()
  }
  const claims = [...deviceClaims(devices), ...networkClaims(networks), ...(await fileClaims(files))]
  if (values.yes) await refuseWhileHeld(claims)
  const kernel = await NetlinkKernel.open()
  let [found, refused] = [0, 0]
  const say = (line: string) => {
    found += 1
    context.out.write(`${printable(line, LONGEST)}\n`)
  }
  try {
    const operations = await leftovers(kernel, scope, signal)
    if (!values.yes) for (const operation of operations) say(printOperation(operation))
    else
      for (const result of await kernel.apply(operations, signal)) {
        say(printResult(result))
        if (result.error !== undefined) refused += 1
      }
  } finally {
    kernel.close()
  }
  if (await removeFirewall(networks, signal, values.yes ? runCommand : onlyLook))
    say('delete firewall rules of flannel')
  for (const device of devices)
    if (await removeTunnelFilter(device, signal, values.yes ? runCommand : onlyLook))
      say(`delete the tunnel filter of ${device}`)
  for (const file of files.filter(path => existsSync(path))) {
    if (values.yes) await rm(file)
    say(`delete file ${file}`)
  }
  if (found === 0) context.out.write('There is nothing to remove\n')
  else if (!values.yes) context.out.write('Nothing was removed: stop the agent, and give --yes\n')
  if (refused > 0) throw new ExpectedError(`${refused} of ${found} could not be removed; see above`)
  return 0
})

/** A running agent would restore at once what is removed. */
async function refuseWhileHeld(claims: readonly Claim[]): Promise<void> {
  for (const claim of claims) {
    const holder = await findHolder(claim)
    if (holder?.isOwnUser)
      throw new ExpectedError(
        `An agent runs and has ${claim.text}: ${holder.says}; stop it first. Nothing was removed`,
      )
  }
}

/** This network's devices and prefixes: from store or cache, or from the given VNI and the subnet file. */
async function ours(
  { vni, timeout, 'cache-file': cacheFile }: FlagValues<typeof flags>,
  named: readonly Prefix[],
  { store, err }: CommandContext,
): Promise<{ readonly devices: readonly string[]; readonly networks: readonly Prefix[] }> {
  if (vni.length > 0) return { devices: vni.flatMap(text => vxlanDevices(parseVni(text))), networks: named }
  const { network } = await readStoreOrLastSeen(store(), cacheFile, timeout * 1000, err)
  return { devices: openBackend(network).devices, networks: network.families.map(family => family.network) }
}

/** 24 bits (RFC 7348). */
function parseVni(text: string): number {
  const vni = Number(text)
  if (/^\d+$/.test(text) && vni <= 0xffffff) return vni
  throw new FlagError(`--vni is '${text}': it must be a whole number from 0 to ${0xffffff}`)
}

/** Runs commands that read. Skips those that write, and reports success. */
const onlyLook: RunCommand = async (words, input, signal) => {
  const writes = /-restore$/.test(words[0] ?? '') || (words[0] === 'nft' && words.includes('-f'))
  return writes ? { code: 0, stdout: '', stderr: '' } : await runCommand(words, input, signal)
}
