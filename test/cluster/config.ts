import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { BRIDGE, GROUP, NODE_IP, path } from './state.ts';

/** The config files of what runs on the node. */
export function writeConfigs(): void {
  mkdirSync(path('cni'), { recursive: true });
  writeFileSync(path('containerd.toml'), CONTAINERD);
  writeFileSync(path('cni', '10-bridge.conflist'), JSON.stringify(NETWORK));
  writeFileSync(path('kubelet.json'), JSON.stringify(KUBELET));
  writeFileSync(path('Corefile'), COREFILE);
  makeGroups();
}

export const PAUSE_IMAGE = 'docker.io/local/pause:1';

const CONTAINERD = `version = 3
root = "${path('containerd')}"
state = "${path('run')}"
[grpc]
address = "${path('containerd.sock')}"
[plugins."io.containerd.internal.v1.opt"]
path = "${path('opt')}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "${PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "${path('cni')}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`;

const NETWORK = {
  cniVersion: '1.0.0',
  name: 'sidelock',
  plugins: [
    {
      type: 'bridge',
      bridge: BRIDGE,
      isGateway: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        dataDir: path('cni-data'),
        ranges: [[{ subnet: '10.244.0.0/24', rangeStart: '10.244.0.10' }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
    { type: 'loopback' },
  ],
};

const KUBELET = {
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: path('ca.crt') } },
  authorization: { mode: 'Webhook' },
  tlsCertFile: path('serving.crt'),
  tlsPrivateKeyFile: path('serving.key'),
  address: NODE_IP,
  cgroupDriver: 'cgroupfs',
  cgroupRoot: `/${GROUP}`,
  failCgroupV1: false,
  enforceNodeAllocatable: [],
  failSwapOn: false,
  oomScoreAdj: 0,
  resolvConf: '/dev/null',
  makeIPTablesUtilChains: false,
  clusterDNS: [NODE_IP],
  clusterDomain: 'cluster.local',
  containerRuntimeEndpoint: `unix://${path('containerd.sock')}`,
  podLogsDir: path('pods'),
  evictionHard: { 'memory.available': '50Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
  syncFrequency: '10s',
};

const COREFILE = `.:53 {
  bind ${NODE_IP}
  errors
  kubernetes cluster.local {
    kubeconfig ${path('admin.kubeconfig')}
  }
}
`;

function makeGroups(): void {
  for (const hierarchy of readdirSync('/sys/fs/cgroup')) {
    const top = `/sys/fs/cgroup/${hierarchy}`;
    if (!existsSync(`${top}/cgroup.procs`)) continue;
    mkdirSync(`${top}/${GROUP}`, { recursive: true });
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (existsSync(`${top}/${file}`)) copyFileSync(`${top}/${file}`, `${top}/${GROUP}/${file}`);
    }
  }
}
