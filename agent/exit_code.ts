/**
 * What the process's exit code tells a supervisor. flanneld uses 0 to 2 too, but exits with 0 after it lost
 * its lease, so that systemd's `Restart=on-failure` leaves the node without an agent.
 *
 * | code | name | what happened | what to do |
 * |-|-|-|-|
 * | 0 | stopped | asked to stop (SIGINT, SIGTERM); --help, --version | nothing: the kernel's entries stay |
 * | 1 | startUp | could not start: config, interface, lease or permissions | read the last log line |
 * | 2 | badFlag | the command line cannot be parsed | correct it |
 * | 3 | leaseLost | our lease is gone or another node's (--lease-lost=exit) | restart: gets a lease again |
 * | 4 | storeUnreachable | the CLI could not read the store in time | check the endpoints named |
 * | 5 | notReady | `twill install`: all is written; the agent ended or is not ready in time | read its log |
 * | 70 | unexpected | an unexpected error (EX_SOFTWARE), logged with its stack | restart, report |
 *
 * `twill status`, `doctor`, `trace`, `probe` and `diff` say with 0 and 1 what they found, and with 2 that
 * they could not tell, whatever the reason.
 */
export const exitCode = {
  stopped: 0,
  startUp: 1,
  badFlag: 2,
  leaseLost: 3,
  storeUnreachable: 4,
  notReady: 5,
  unexpected: 70,
} as const

export type ExitCode = (typeof exitCode)[keyof typeof exitCode]
