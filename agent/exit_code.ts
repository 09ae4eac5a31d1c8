/**
 * What the process's exit code tells a supervisor. 0 to 2 are flanneld's, but for a lost lease, where flanneld says 0 and
 * systemd's `Restart=on-failure` leaves the node without an agent.
 *
 * | code | name | what happened | what to do |
 * |-|-|-|-|
 * | 0 | stopped | asked to stop (SIGINT, SIGTERM), or --help, --version | nothing; the kernel's entries stay |
 * | 1 | startUp | could not start as things stand: config, interface, lease, permissions | read the last log line |
 * | 2 | badFlag | the command line cannot be read | correct it |
 * | 3 | leaseLost | our lease is another node's, or gone, and --lease-lost=exit | restart: a lease is taken again |
 * | 4 | storeUnreachable | the CLI could not read the store in time | check the endpoints named |
 * | 5 | notReady | `twill install`: all is done and the agent runs, but is not ready in time | read what it waits for |
 * | 70 | unexpected | an error that should not be (EX_SOFTWARE of sysexits.h), logged with its stack | restart, report |
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
