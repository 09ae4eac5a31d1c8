import { dirname, join } from 'node:path'
import { readRegularFile } from '../../lease/common/read_file.ts'
import type { CniConfigFile } from '../diagnose/cni_configs.ts'
import type { NodeFileFacts } from '../diagnose/doctor/patient.ts'
import { configsIn } from '../node_files/cni_config.ts'
import { readPreviousSubnets, saysIpMasq } from '../node_files/subnet_env.ts'

/** Where container runtimes take their network from, unless told otherwise. */
const CNI_DIRECTORY = '/etc/cni/net.d'
/** Limits for files that other programs write; each has some hundred bytes. */
const MOST = { configs: 32, bytes: 64 * 1024 }

/** Reads subnet.env, and the CNI configs beside `cniConfigFile`. */
export async function readNodeFiles(
  subnetFile: string,
  cniConfigFile: string | undefined,
): Promise<NodeFileFacts> {
  const text = await readOrNone(subnetFile)
  const directory = cniConfigFile === undefined ? CNI_DIRECTORY : dirname(cniConfigFile)
  return {
    subnetFile,
    subnets: text === undefined ? undefined : readPreviousSubnets(text),
    ipMasq: text !== undefined && saysIpMasq(text),
    cni: { directory, configs: await readConfigs(directory) },
  }
}

async function readConfigs(directory: string): Promise<readonly CniConfigFile[]> {
  const names = (await configsIn(directory)).slice(0, MOST.configs)
  return await Promise.all(
    names.map(async name => ({ name, text: (await readOrNone(join(directory, name))) ?? '' })),
  )
}

function readOrNone(path: string): Promise<string | undefined> {
  return readRegularFile(path, MOST.bytes).catch(() => undefined)
}
