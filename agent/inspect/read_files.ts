import { readFile } from 'node:fs/promises'
import type { NodeFileFacts } from '../diagnose/doctor/patient.ts'
import { readPreviousSubnets } from '../node_files/subnet_env.ts'

/** What stands in subnet.env. */
export async function readNodeFiles(subnetFile: string): Promise<NodeFileFacts> {
  try {
    return { subnetFile, subnets: readPreviousSubnets(await readFile(subnetFile, 'utf8')) }
  } catch {
    return { subnetFile, subnets: undefined }
  }
}
