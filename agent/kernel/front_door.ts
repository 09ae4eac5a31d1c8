import { readFileSync, writeFileSync } from 'node:fs'
import { ReportOnce } from '../../lease/common/report_once.ts'

/** What a pod could otherwise change in this node's routing with one packet through the tunnel. */
const SETTINGS = ['ipv6/conf/*/accept_ra', 'ipv6/conf/*/accept_redirects', 'ipv4/conf/*/accept_redirects']

/**
 * Keeps our devices from taking router advertisements and redirects. A container that is not privileged has /proc/sys
 * read-only: a failure is said once, and routes that an advertisement made are removed like any other drift. Synchronous:
 * /proc/sys/net shows the network namespace of the calling thread, and those of the thread pool may be in another one.
 */
export class FrontDoor {
  readonly #warn: (words: string) => void
  readonly #said = new ReportOnce()

  constructor(warn: (words: string) => void = () => {}) {
    this.#warn = warn
  }

  close(device: string): void {
    for (const setting of SETTINGS) {
      const path = `net/${setting.replace('*', device)}`
      const trouble = switchOff(`/proc/sys/${path}`)
      if (trouble === undefined) this.#said.isOver(path)
      else if (this.#said.isNew(path, trouble)) this.#warn(sentence(path, trouble))
    }
  }
}

function switchOff(path: string): string | undefined {
  try {
    if (readFileSync(path, 'latin1').trim() !== '0') writeFileSync(path, '0')
    return undefined
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    // Without IPv6 there is no such file.
    if (code === 'ENOENT') return undefined
    return code === 'EROFS' ? '/proc/sys is read-only' : `the kernel answers ${code}`
  }
}

function sentence(path: string, trouble: string): string {
  return (
    `cannot set ${path} to 0: ${trouble}; routes that a router advertisement from a pod makes are removed when they appear; ` +
    'set net.ipv6.conf.default.accept_ra, net.ipv6.conf.default.accept_redirects and net.ipv4.conf.default.accept_redirects to 0 on the host before the device is made'
  )
}
