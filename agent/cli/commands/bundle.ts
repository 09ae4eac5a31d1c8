import { writeFile } from 'node:fs/promises'
import { version as kernelVersion, release } from 'node:os'
import { ExpectedError, messageOf } from '../../../lease/common/errors.ts'
import { withoutLogins } from '../../../lease/common/url_logins.ts'
import { allFlags, variableName } from '../../config/flags.ts'
import { string } from '../../config/go_flags.ts'
import { shownValue } from '../../config/shown.ts'
import { readHost } from '../../inspect/read_host.ts'
import { version } from '../../version.ts'
import { command, printJson } from '../definition/command.ts'
import { tarGz } from '../output/tar.ts'
import { askNode, nodeFlags, timeoutMs } from '../source/ask_node.ts'

const flags = {
  ...nodeFlags,
  file: string('twill-bundle.tar.gz', 'where to write the archive; -: to stdout'),
}

/**
 * `twill bundle`: status, map, diff, doctor's findings and this host's network as files in one archive. A
 * part that fails becomes a file with the reason. Secrets are left out: these documents contain no password,
 * token or key.
 */
export const bundle = command({ flags, readsStore: true }, async ({ file, ...values }, context) => {
  const files = new Map<string, string>()
  const put = async (name: string, make: () => Promise<unknown>) => {
    const value = await make().catch(error => ({ error: messageOf(error) }))
    files.set(`twill-bundle/${name}.json`, withoutLogins(printJson(value), '(left out)@'))
  }
  await put('about', async () => about(context.env))
  await put('host', () => readHost(AbortSignal.timeout(timeoutMs(values, 'agent'))))
  for (const name of ['status', 'map', 'diff', 'doctor'] as const)
    await put(name, () => askNode(values, context, (node, signal): Promise<unknown> => node[name](signal)))
  const archive = tarGz(files, Date.now())
  if (file === '-') context.out.write(archive)
  else {
    await writeFile(file, archive, { mode: 0o600 }).catch(error => {
      throw new ExpectedError(
        `Cannot write ${file}: ${messageOf(error)}; name another --file, or - for stdout`,
      )
    })
    context.out.write(`${file} holds status, map, diff, doctor's findings and the network of this host\n`)
  }
  return 0
})

function about(env: Readonly<Record<string, string | undefined>>) {
  const variables = Object.keys(env).filter(name => name.startsWith('FLANNELD_'))
  return {
    version,
    node: process.version,
    kernel: release(),
    kernelVersion: kernelVersion(),
    variables: Object.fromEntries(variables.map(name => [name, shown(name, env[name] ?? '')])),
  }
}

/** Without the value where no flag is known: it may be a misspelt password. */
function shown(variable: string, value: string): string {
  const flag = Object.entries(allFlags).find(([name]) => variableName(name) === variable)?.[1]
  return flag === undefined ? '(left out)' : shownValue(flag, value)
}
