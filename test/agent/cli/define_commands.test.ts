import { expect, it } from 'vitest'
import { twill } from '../../support/twill.ts'

const nowhere = '--local-socket=none --cache-file=/none'

it.each(['map', 'status', 'doctor', 'trace 10.244.1.7 10.244.2.9', 'probe'])(
  'twill %s warns once of a variable of the store that cannot be read, escaped',
  async line => {
    const { err } = await twill(`${line} ${nowhere}`, {
      FLANNELD_KUBE_SUBNET_MGR: 'perhaps\u202e',
      FLANNELD_ETCD_ENDPOINTS: 'http://127.0.0.1:9',
    })
    const warnings = err.split('\n').filter(one => one.includes('FLANNELD_KUBE_SUBNET_MGR'))
    expect(warnings).toEqual([
      'twill: Variable FLANNELD_KUBE_SUBNET_MGR is ignored: invalid boolean value "perhaps\\u202e" for -kube-subnet-mgr: parse error',
    ])
  },
)
