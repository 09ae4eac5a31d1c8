import { entryKey } from '../../agent/state/print.ts'
import { FakeKernel } from '../support/fake_kernel.ts'
import { describeKernel } from './kernel.ts'

describeKernel('the fake', async () => {
  const kernel = new FakeKernel(['eth0', 'eth1'])
  return {
    kernel,
    async meddle(operations) {
      for (const { verb, entry } of operations)
        if (verb === 'delete') kernel.remove(entryKey(entry))
        else kernel.put(entry)
    },
    async close() {},
  }
})
