import { expect, it } from 'vitest'
import { configAhead } from '../../../agent/diagnose/cni_configs.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'

const networks = [parsePrefix('10.244.0.0/16')]
const flannel = { name: '10-flannel.conflist', text: '{"name":"cbr0","plugins":[{"type":"flannel"}]}' }
const standard = {
  name: '10-flannel.conflist',
  text: '{"plugins":[{"type":"bridge","ipam":{"ranges":[[{"subnet": "10.244.3.0/24"}]]}}]}',
}
const other = (name: string, text = '{"type":"bridge","ipam":{"subnet":"10.88.0.0/16"}}') => ({ name, text })

it.each([
  ['another network sorts first', [flannel, other('05-bridge.conf')], '05-bridge.conf'],
  ['the same, with the standard plugins', [standard, other('05-bridge.conf')], '05-bridge.conf'],
  ['what sorts first is no JSON', [flannel, other('05-bridge.conf', '{')], '05-bridge.conf'],
  ['another network sorts behind', [flannel, other('87-podman.conflist')], undefined],
  ['there is no config of this network', [other('05-bridge.conf'), other('87-podman.conflist')], undefined],
  [
    'a plugin that calls others sorts first',
    [flannel, other('00-multus.conf', '{"type":"multus"}')],
    undefined,
  ],
  ['there is none at all', [], undefined],
  ['values are of no kind that is known', [flannel, other('11-a.conf', '[null,{"type":[]}]')], undefined],
])('names the config that a runtime uses in place of the one of this network: %s', (_, configs, expected) => {
  expect(configAhead(configs, networks)?.first).toBe(expected)
})
