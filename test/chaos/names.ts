/** Each agent and each flanneld has a VTEP MAC of its own. It names the writer of a key whatever address the writer has. */

export function agentName(number: number): string {
  return `agent-${number}`
}

export function agentMac(number: number): string {
  return `02:00:00:00:00:${hex(number)}`
}

export function flanneldMac(number: number): string {
  return `c6:d2:00:00:00:${hex(number)}`
}

/** The name of who wrote a lease value, empty where it names no MAC. */
export function holderOf(value: string): string {
  const { BackendData, BackendV6Data } = JSON.parse(value) as {
    BackendData?: { VtepMAC?: string } | null
    BackendV6Data?: { VtepMAC?: string } | null
  }
  return nameOfMac(BackendData?.VtepMAC ?? BackendV6Data?.VtepMAC)
}

export function nameOfMac(mac: string | undefined): string {
  if (mac === undefined) return ''
  const number = Number.parseInt(mac.slice(mac.lastIndexOf(':') + 1), 16)
  return mac.startsWith('02') ? agentName(number) : `flanneld-${number}`
}

function hex(number: number): string {
  return number.toString(16).padStart(2, '0')
}
