import { describe, test } from 'vitest'
import { NetlinkKernel } from '../../agent/kernel/netlink_kernel.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'
import { describeKernel } from './kernel.ts'

const whyNot = await enterOwnNetns()

if (whyNot === undefined) {
  describeKernel('Linux', async () => {
    const bed = await OwnBed.make()
    // Over a socket of its own, as another process would.
    const other = await NetlinkKernel.open()
    return {
      kernel: bed.kernel,
      async meddle(operations) {
        for (const { error } of await other.apply(operations, new AbortController().signal))
          if (error !== undefined) throw error
      },
      async close() {
        other.close()
        bed.close()
      },
    }
  })
} else {
  describe('Linux as a kernel', () => {
    test.skip(`skipped: ${whyNot}`)
  })
}
