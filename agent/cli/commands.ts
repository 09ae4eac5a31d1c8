import type { CommandEntry } from './definition/command.ts'

/** Every command, in the order of the help: from looking at the network to changing something. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'map',
    description: 'which node has which subnet, and how it is reached',
    examples: [
      ['twill map', 'every lease, and why agents refuse one'],
      ['twill map --etcd-endpoints=http://192.168.50.11:2379', 'the same from a laptop, without an agent'],
      ['twill map --format html > map.html', 'the address space as one page, to attach to a ticket'],
      ['twill map --watch', 'live: a row that has changed stands out'],
    ],
    load: async () => (await import('./commands/map.ts')).map,
  },
  {
    name: 'status',
    description: 'this node in ten lines: lease, device, store, what differs, what to do next',
    examples: [
      ['twill status', 'is this node well? Exit code 0 healthy, 1 degraded, 2 could not tell'],
      ['kubectl twill --node worker-3 status', 'the same in the pod of a node of a cluster'],
    ],
    load: async () => (await import('./commands/status.ts')).status,
  },
  {
    name: 'doctor',
    description: 'what is wrong on this host, with evidence, cause and remedy, the likeliest cause first',
    examples: [['twill doctor', 'pods do not reach each other: begin here']],
    load: async () => (await import('./commands/doctor.ts')).doctor,
  },
  {
    name: 'trace',
    description: 'the way of a packet between two addresses, hop by hop, and the first hop that is broken',
    examples: [
      ['twill trace 10.244.1.7 10.244.2.9', 'from a pod of this host to a pod of another'],
      ['twill trace worker-1 worker-2', 'between two nodes, by the names that twill map shows'],
      ['twill trace default/web-0 default/db-0', 'between two pods by name, with Kubernetes'],
    ],
    load: async () => (await import('./commands/trace.ts')).trace,
  },
  {
    name: 'probe',
    description: 'active checks of the ways to the peers: round trips, packet sizes, a bulk transfer',
    examples: [
      ['twill probe worker-2', 'one peer, over underlay and overlay'],
      ['twill probe --all', 'all peers of this host'],
    ],
    load: async () => (await import('./commands/probe.ts')).probe,
  },
  {
    name: 'diff',
    description:
      "what differs between this host's kernel and what its leases ask for, as ip and bridge commands",
    examples: [
      ['twill diff', 'exit code 1 where something differs'],
      ['twill diff --fix', 'let the agent check and repair everything now, then print what still differs'],
    ],
    load: async () => (await import('./commands/diff.ts')).diff,
  },
  {
    name: 'bundle',
    description: 'one archive of all of this for a bug report, secrets left out',
    examples: [
      ['twill bundle --file=/tmp/node-3.tar.gz', 'status, map, diff, findings and host network'],
      ['kubectl twill --node worker-3 bundle --file=- > node-3.tar.gz', 'the same from the pod of a node'],
    ],
    load: async () => (await import('./commands/bundle.ts')).bundle,
  },
  {
    name: 'loglevel',
    description: 'what the running agent logs: trace, debug, info, warn or error, until it is started again',
    examples: [
      ['twill loglevel', 'prints it'],
      ['twill loglevel debug', 'each operation on the kernel from now on'],
    ],
    load: async () => (await import('./commands/loglevel.ts')).loglevel,
  },
  {
    name: 'reserve',
    description: 'set a subnet aside for a node, by its public IP: its lease never runs out (etcd)',
    examples: [
      ['twill reserve --subnet=10.244.5.0/24 --public-ip=192.168.50.15', 'keeps the subnet of a node'],
    ],
    load: async () => (await import('./commands/reserve.ts')).reserve,
  },
  {
    name: 'release',
    description: 'drop the reservation of a subnet (etcd)',
    examples: [['twill release --subnet=10.244.5.0/24', 'the subnet may be leased again']],
    load: async () => (await import('./commands/reserve.ts')).release,
  },
  {
    name: 'install',
    description: 'make this host a node: checks it, writes and starts the service, waits until it is ready',
    examples: [
      ['twill install --first-host', 'the first host: runs etcd, and says how the next one joins'],
      ['twill install --join=TOKEN', 'the next hosts'],
      [
        'twill install --join=TOKEN --member',
        'a second and a third one with etcd, so that the first may be lost',
      ],
      [
        'twill install --etcd-endpoints=http://192.168.50.11:2379 --dry-run',
        'with an existing etcd: print what would be done',
      ],
    ],
    load: async () => (await import('./commands/install.ts')).install,
  },
  {
    name: 'uninstall',
    description: 'take back what twill install did on this host, and only that',
    examples: [
      ['twill uninstall --dry-run', 'what would be undone'],
      ['twill uninstall', 'undoes it'],
    ],
    load: async () => (await import('./commands/uninstall.ts')).uninstall,
  },
  {
    name: 'etcd-backup',
    description: 'write all of etcd into one file, whole or not at all, and print how it is restored',
    examples: [
      ['twill etcd-backup /root/etcd.backup', 'on a host with --embedded-etcd or --member'],
      ['twill etcd-backup --join=/root/join-token etcd.backup', 'anywhere, with a join token'],
    ],
    load: async () => (await import('./commands/etcd_backup.ts')).etcdBackup,
  },
  {
    name: 'etcd-leave',
    description: "take this host's member out of the network's etcd, for good (twill uninstall does it too)",
    examples: [['twill etcd-leave && twill uninstall', 'the other members no longer count on this host']],
    load: async () => (await import('./commands/etcd_leave.ts')).etcdLeave,
  },
  {
    name: 'docker-opts',
    description: "write dockerd's options for this node's subnet, as mk-docker-opts.sh does",
    examples: [
      ['twill docker-opts', 'writes /run/docker_opts.env, for EnvironmentFile= of docker.service'],
      ['twill docker-opts -c -d -', 'prints DOCKER_OPTS'],
    ],
    load: async () => (await import('./commands/docker_opts.ts')).dockerOptsCommand,
  },
  {
    name: 'cleanup',
    description: 'remove from this node what a stopped agent left on it',
    examples: [
      ['twill cleanup', 'prints what would be removed'],
      ['twill cleanup --yes', 'removes it'],
    ],
    load: async () => (await import('./commands/cleanup.ts')).cleanup,
  },
  {
    name: 'completion',
    description: 'print a completion script for bash, zsh or fish',
    examples: [
      ['twill completion bash > /etc/bash_completion.d/twill', 'bash'],
      ['twill completion zsh > /usr/local/share/zsh/site-functions/_twill', 'zsh'],
      ['twill completion fish > /etc/fish/completions/twill.fish', 'fish'],
    ],
    load: async () => (await import('./commands/completion.ts')).completion,
  },
  {
    name: 'man',
    description: 'print the manual page, as man reads it',
    examples: [['twill man | man -l -', 'read it']],
    load: async () => (await import('./commands/man.ts')).man,
  },
]
