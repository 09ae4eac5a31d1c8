import { ExpectedError, messageOf } from '../../../lease/common/errors.ts'
import { readRegularFile } from '../../../lease/common/read_file.ts'
import { replaceFile } from '../../../lease/common/replace_file.ts'
import { agentPath } from '../../config/flags.ts'
import { bool, string } from '../../config/go_flags.ts'
import { dockerOpts } from '../../node_files/docker_opts.ts'
import { command } from '../definition/command.ts'

/** Named as mk-docker-opts.sh names them: a unit that calls it needs only another program name. */
const flags = {
  f: agentPath('subnet-file'),
  d: string('/run/docker_opts.env', 'the file to write; -: standard output'),
  i: bool(false, 'one variable an option, and no other line'),
  c: bool(false, 'all options in one variable, and no other line'),
  m: bool(false, 'leave --ip-masq out'),
  k: string('DOCKER_OPTS', 'name of the variable that holds all options'),
}

/** Larger than any subnet file. */
const MOST_BYTES = 64 * 1024

/** `twill docker-opts`: dockerd's options that put its bridge into the overlay. */
export const dockerOptsCommand = command({ flags, readsStore: false }, async (values, { out }) => {
  const wish = {
    individual: values.i || !values.c,
    combined: values.c || !values.i ? values.k : undefined,
    withoutIpMasq: values.m,
  }
  const text = dockerOpts(await subnetEnv(values.f), wish)
  if (text === undefined)
    throw new ExpectedError(
      `${values.f} names no IPv4 subnet (FLANNEL_SUBNET): is this the agent's subnet file?`,
    )
  if (values.d === '-') out.write(text)
  else await replaceFile(values.d, text, 0o644)
  return 0
})

async function subnetEnv(path: string): Promise<string> {
  try {
    return await readRegularFile(path, MOST_BYTES)
  } catch (cause) {
    throw new ExpectedError(
      `Cannot read ${path}: ${messageOf(cause)}; the agent writes it once traffic can flow, so start Docker after it`,
      { cause },
    )
  }
}
