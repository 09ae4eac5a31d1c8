import { readDotenv } from './dotenv.ts'

export interface DockerOptsWish {
  /** `DOCKER_OPT_BIP=...`, one option a line. */
  readonly individual: boolean
  /** Name of the variable that holds all options; undefined: none. */
  readonly combined: string | undefined
  /** Leave `--ip-masq` to Docker's own default. */
  readonly withoutIpMasq: boolean
}

/**
 * dockerd's options for the overlay, from the text of subnet.env, as flannel's mk-docker-opts.sh writes them:
 * a file that a unit reads by EnvironmentFile=. Docker masquerades where the agent does not. Undefined where
 * the text names no IPv4 subnet.
 */
export function dockerOpts(subnetEnv: string, wish: DockerOptsWish): string | undefined {
  const values = readDotenv(subnetEnv)
  const [subnet, mtu, ipMasq] = ['SUBNET', 'MTU', 'IPMASQ'].map(name => values.get(`FLANNEL_${name}`))
  if (!subnet) return undefined
  const options: (readonly [string, string])[] = [['BIP', `--bip=${subnet}`]]
  if (ipMasq && !wish.withoutIpMasq) options.push(['IPMASQ', `--ip-masq=${ipMasq !== 'true'}`])
  if (mtu) options.push(['MTU', `--mtu=${mtu}`])
  const lines = wish.individual ? options.map(([name, option]) => `DOCKER_OPT_${name}="${option}"\n`) : []
  const all = options.map(([, option]) => ` ${option}`).join('')
  return lines.join('') + (wish.combined === undefined ? '' : `${wish.combined}="${all}"\n`)
}
