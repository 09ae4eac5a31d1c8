import { readFileSync } from 'node:fs'

/** What the kernel says of a process: proc_pid_status(5), in MB of 2^20 bytes. */
export function memoryOf(pid: number) {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1')
  const megabytes = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(text)?.[1]) / 1024
  return { rss: megabytes('VmRSS'), anonymous: megabytes('RssAnon'), peak: megabytes('VmHWM') }
}
