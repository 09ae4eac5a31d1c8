import { describe, expect, it } from 'vitest'
import { dockerOpts } from '../../../agent/node_files/docker_opts.ts'

const subnetEnv = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`
const both = { individual: true, combined: 'DOCKER_OPTS', withoutIpMasq: false }

describe('the options of Docker', () => {
  it("are written as flannel's mk-docker-opts.sh writes them", () => {
    expect(dockerOpts(subnetEnv, both)).toBe(
      'DOCKER_OPT_BIP="--bip=10.244.7.1/24"\n' +
        'DOCKER_OPT_IPMASQ="--ip-masq=false"\n' +
        'DOCKER_OPT_MTU="--mtu=1450"\n' +
        'DOCKER_OPTS=" --bip=10.244.7.1/24 --ip-masq=false --mtu=1450"\n',
    )
  })

  it.each([
    ['one variable an option', { combined: undefined }, /^DOCKER_OPT_BIP=.*\n.*\nDOCKER_OPT_MTU=.*\n$/],
    ['all in one, under another name', { individual: false, combined: 'OPTS' }, /^OPTS=" --bip=.*"\n$/],
    [
      'without --ip-masq',
      { withoutIpMasq: true },
      /^DOCKER_OPT_BIP=.*\nDOCKER_OPT_MTU=.*\nDOCKER_OPTS=" --bip=\S+ --mtu=1450"\n$/,
    ],
  ])('are %s', (_, wish, text) => {
    expect(dockerOpts(subnetEnv, { ...both, ...wish })).toMatch(text)
  })

  it('let Docker masquerade where the agent does not', () => {
    expect(dockerOpts(subnetEnv.replace('IPMASQ=true', 'IPMASQ=false'), both)).toContain('--ip-masq=true')
  })

  it('are none where there is no subnet', () => {
    expect(dockerOpts('FLANNEL_MTU=1450\n', both)).toBeUndefined()
  })
})
