import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { version as kernelVersion, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf } from '../../lease/common/errors.ts'
import { string } from '../config/go_flags.ts'
import { readHost } from '../inspect/read_host.ts'
import { version } from '../version.ts'
import { askNode, nodeFlags, timeoutMs } from './ask_node.ts'
import { command } from './command.ts'

const flags = { ...nodeFlags, file: string('twill-bundle.tar.gz', 'where to write the archive') }

/** Names of variables that may hold secrets are printed, their values are not. */
const isPlain = /^FLANNELD_(?!.*(PASSWORD|TOKEN|SECRET|KEY))/

/**
 * `twill bundle`: status, map, diff, doctor's findings and this host's network as files in one archive. What cannot be had is a
 * file that says why. Secrets are left out: no password, token or key is among what these documents hold.
 */
export const bundle = command({ flags, readsStore: true }, async ({ file, ...values }, context) => {
  const directory = await mkdtemp(join(tmpdir(), 'twill-bundle-'))
  const root = join(directory, 'twill-bundle')
  const put = async (name: string, make: () => Promise<unknown>) => {
    const value = await make().catch(error => ({ error: messageOf(error) }))
    await writeFile(join(root, `${name}.json`), `${JSON.stringify(value, null, 2)}\n`)
  }
  try {
    await mkdir(root)
    await put('about', async () => about(context.env))
    await put('host', () => readHost(AbortSignal.timeout(timeoutMs(values))))
    for (const name of ['status', 'map', 'diff', 'doctor'] as const)
      await put(name, () => askNode(values, context, (node): Promise<unknown> => node[name]()))
    await promisify(execFile)('tar', ['-czf', file, '-C', directory, 'twill-bundle'])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
  context.out.write(`${file} holds status, map, diff, doctor's findings and the network of this host\n`)
  return 0
})

function about(env: Readonly<Record<string, string | undefined>>) {
  const variables = Object.keys(env).filter(name => name.startsWith('FLANNELD_'))
  return {
    version,
    node: process.version,
    kernel: release(),
    kernelVersion: kernelVersion(),
    variables: Object.fromEntries(
      variables.map(name => [name, isPlain.test(name) ? env[name] : '(left out)']),
    ),
  }
}

/** An endpoint may hold a user and a password. */
function _shown(name: string, value: string): string {
  return isPlain.test(name) && !value.includes('@') ? value : '(left out)'
}
