package placement

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tapedeck/tapedeck/shard"
)

// tree reads the file tree of a machine.
func tree(t testing.TB, name string) fs.FS {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	m := fstest.MapFS{}
	for _, f := range a.Files {
		m[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return m
}

func set(t testing.TB, list string) shard.CPUSet {
	t.Helper()
	if list == "" {
		return shard.CPUSet{}
	}
	s, err := shard.ParseCPUs(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// machine is a machine of testdata on which everything, or a list of CPUs, is
// allowed.
func machine(t testing.TB, name, allowed string) *Machine {
	t.Helper()
	topology, err := ReadTopology(tree(t, name))
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{Topology: topology, Allowed: topology.Online(), Interfaces: []Interface{
		{Name: "lo", Addresses: []string{"127.0.0.1", "::1"}}, {Name: "eth1", Addresses: []string{"10.0.0.1"}},
		{Name: "eth2", Addresses: []string{"10.0.1.1"}, Down: true},
	}}
	if allowed != "" {
		m.Allowed = set(t, allowed)
	}
	return m
}

func TestReadTopology(t *testing.T) {
	for _, tc := range []struct {
		name               string
		cpus, cores, nodes int
		isolated           string
		cpu                shard.CPU
		core, cache        shard.CPU
		node               int
		isolatedIt         bool
	}{
		{"2cores", 2, 2, 1, "", 1, 1, 0, 0, false},
		{"16cores", 32, 16, 1, "", 25, 9, 8, 0, false},
		{"2sockets", 32, 16, 2, "10-15,26-31", 27, 11, 1, 1, true},
	} {
		m := machine(t, tc.name, "")
		top := &m.Topology
		if len(top.CPUs) != tc.cpus || top.Cores() != tc.cores || top.Nodes() != tc.nodes || top.Isolated() != set(t, tc.isolated) {
			t.Errorf("%s: %d CPUs, %d cores, %d nodes, isolated %v", tc.name, len(top.CPUs), top.Cores(), top.Nodes(), top.Isolated())
		}
		want := CPU{Number: tc.cpu, Core: tc.core, Cache: tc.cache, Node: tc.node, Isolated: tc.isolatedIt}
		if got, ok := top.of(tc.cpu); !ok || got != want {
			t.Errorf("%s: CPU %v is %+v, want %+v", tc.name, tc.cpu, got, want)
		}
		if _, ok := top.of(shard.CPU(tc.cpus)); ok {
			t.Errorf("%s: there is a CPU %d", tc.name, tc.cpus)
		}
	}
}

// TestReadTopologyBare: a container that shows little is a plain machine, and one
// that shows nonsense is an error with the file's name.
func TestReadTopologyBare(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	top, err := ReadTopology(fstest.MapFS{cpuDir + "/online": file("0,4-5\n")})
	if err != nil {
		t.Fatal(err)
	}
	if top.Cores() != 3 || top.Nodes() != 1 || top.Online() != set(t, "0,4-5") {
		t.Errorf("%+v", top)
	}
	for name, m := range map[string]fstest.MapFS{
		"online":               {},
		"online: ":             {cpuDir + "/online": file("all\n")},
		"isolated":             {cpuDir + "/online": file("0"), cpuDir + "/isolated": file("x")},
		"thread_siblings_list": {cpuDir + "/online": file("0"), cpuDir + "/cpu0/topology/thread_siblings_list": file("0-")},
		"node 1":               {cpuDir + "/online": file("0"), nodeDir + "/node1/cpulist": file("9-3")},
	} {
		if _, err := ReadTopology(m); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCgroup(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, tc := range map[string]struct {
		tree  fstest.MapFS
		cpus  string
		quota float64
	}{
		"none": {fstest.MapFS{}, "", 0},
		"version 2": {fstest.MapFS{
			"proc/self/cgroup": file("0::/a.slice/b.scope\n"),
			"sys/fs/cgroup/a.slice/b.scope/cpuset.cpus.effective": file("2-3\n"),
			"sys/fs/cgroup/cpuset.cpus.effective":                 file("0-7\n"),
			"sys/fs/cgroup/a.slice/cpu.max":                       file("150000 100000\n"),
			"sys/fs/cgroup/a.slice/b.scope/cpu.max":               file("max 100000\n"),
		}, "2-3", 1.5},
		"version 2, of a parent": {fstest.MapFS{
			"proc/self/cgroup": file("0::/a.slice/b.scope\n"),
			"sys/fs/cgroup/a.slice/cpuset.cpus.effective": file("4\n"),
		}, "4", 0},
		"version 2, in a container": {fstest.MapFS{
			"proc/self/cgroup":                    file("0::/\n"),
			"sys/fs/cgroup/cpuset.cpus.effective": file("0-1\n"),
			"sys/fs/cgroup/cpu.max":               file("50000 100000\n"),
		}, "0-1", 0.5},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("9:name=systemd:/\n5:cpuset,cpu:/docker/x\n0::/\n"),
			"sys/fs/cgroup/cpuset/docker/x/cpuset.effective_cpus": file("1,5\n"),
		}, "1,5", 0},
		"nonsense": {fstest.MapFS{"proc/self/cgroup": file("hello\n0::/\n"), "sys/fs/cgroup/cpu.max": file("a b c")}, "", 0},
	} {
		got, ok := CgroupCPUs(tc.tree)
		if got != set(t, tc.cpus) || ok != (tc.cpus != "") {
			t.Errorf("%s: CPUs %v, %v; want %s", name, got, ok, tc.cpus)
		}
		quota, limited := CgroupQuota(tc.tree)
		if quota != tc.quota || limited != (tc.quota != 0) {
			t.Errorf("%s: quota %v, %v; want %v", name, quota, limited, tc.quota)
		}
	}
}

// shown is a plan in one line: "io-loop" per shard, then the workers.
func shown(p *Plan) string {
	var parts []string
	for _, s := range p.Shards {
		parts = append(parts, fmt.Sprintf("%v-%v", s.IO, s.Receive))
	}
	if len(p.Workers) > 0 {
		parts = append(parts, "workers")
		for _, w := range p.Workers {
			parts = append(parts, w.String())
		}
	}
	return strings.Join(parts, " ")
}

func TestAuto(t *testing.T) {
	for _, tc := range []struct {
		name, machine, allowed string
		shards, workers        int
		cpus                   string
		want                   string
		remarks                int
	}{
		{"two CPUs, one shard", "2cores", "", 1, 0, "", "1-0", 0},
		{"two CPUs, two shards", "2cores", "", 2, 0, "", "1-0 0-1", 2},
		{"two CPUs leave none for workers", "2cores", "", 1, 2, "", "1-0 workers none none", 0},
		{"one CPU allowed", "2cores", "1", 1, 1, "", "none-none workers none", 0},
		{"off", "16cores", "", 2, 1, "off", "none-none none-none workers none", 0},
		{"neighbours, core 0 left alone", "16cores", "", 2, 0, "", "1-2 3-4", 0},
		{"caches are not straddled", "16cores", "", 4, 0, "", "1-2 3-4 5-6 8-9", 0},
		{"workers near their shards", "16cores", "", 2, 3, "", "1-2 3-4 workers 5 6 7", 0},
		{"all cores", "16cores", "", 8, 0, "", "1-2 3-4 5-6 8-9 10-11 12-13 14-15 7-0", 0},
		{"siblings where cores do not suffice", "16cores", "0-3,16-19", 3, 0, "", "1-17 2-18 3-19", 3},
		{"a core with two threads", "16cores", "5,21", 1, 0, "", "5-21", 1},
		{"a list", "16cores", "", 2, 1, "4-8", "4-5 6-7 workers 8", 0},
		{"shared", "16cores", "4-6", 2, 0, "", "4-5 6-5", 1},
		{"isolated first, one node", "2sockets", "", 2, 0, "", "10-12 11-13", 0},
		{"isolated, then others of the node", "2sockets", "", 4, 0, "", "10-12 11-13 14-8 15-9", 0},
		{"not allowed to use isolated ones", "2sockets", "0-9,16-25", 2, 0, "", "1-3 2-4", 1},
		{"nodes are not crossed", "2sockets", "2,4,6,3,5", 2, 0, "", "2-4 3-5", 1},
		{"until nothing else is left", "2sockets", "2,3", 1, 0, "", "2-3", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Config{Endpoints: "tcp://127.0.0.1:7100+", Shards: tc.shards, CPUs: tc.cpus, Workers: Workers{Count: tc.workers}}
			p, err := c.Plan(machine(t, tc.machine, tc.allowed))
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(p); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if len(p.Remarks) != tc.remarks {
				t.Errorf("remarks %q, want %d", p.Remarks, tc.remarks)
			}
		})
	}
}

func TestConfigured(t *testing.T) {
	for name, tc := range map[string]struct {
		toml      string
		want      string
		endpoints string
		remarks   []string
	}{
		"nothing but an endpoint": {"endpoints = 'tcp://h:1'", "1-0", "tcp://h:1", nil},
		"everything": {`
cpus = "off"
[workers]
cpus = "4-5"
dispatch = "any"
[[shard]]
endpoint = "tcp://h:1"
interface = "eth1"
io_cpu = 2
receive_cpu = 3
[[shard]]
endpoint = "tcp://10.0.0.1:0;h:2"
io_cpu = 6
receive_cpu = "none"
`, "2-3 6-none workers 4 5", "tcp://eth1:0;h:1 tcp://10.0.0.1:0;h:2", nil},
		"one interface for all": {`
endpoints = "tcp://h:1+"
interface = "::1"
[[shard]]
[[shard]]
interface = "lo"
`, "1-2 3-4", "tcp://[::1]:0;h:1 tcp://lo:0;h:2", nil},
		"auto beside what is given": {`
endpoints = "tcp://h:1+"
shards = 2
[[shard]]
io_cpu = 9
[[shard]]
io_cpu = "auto"
`, "9-8 1-2", "tcp://h:1 tcp://h:2", nil},
		"what is slow": {`
endpoints = "tcp://h:1+"
shards = 2
interface = "eth2"
[[shard]]
io_cpu = 3
receive_cpu = 3
[[shard]]
io_cpu = 4
receive_cpu = 20
`, "3-3 4-20", "tcp://eth2:0;h:1 tcp://eth2:0;h:2", []string{
			"shard 0: interface eth2 is down", "shard 1: interface eth2 is down",
			"CPU 3 is shared: I/O thread of shard 0, loop of shard 0",
			"the siblings of core 4 are both used: I/O thread of shard 1, loop of shard 1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse([]byte(tc.toml))
			if err != nil {
				t.Fatal(err)
			}
			m := machine(t, "16cores", "")
			if name == "nothing but an endpoint" {
				m = machine(t, "2cores", "")
			}
			p, err := c.Plan(m)
			if err != nil {
				t.Fatal(err)
			}
			var endpoints []string
			for _, s := range p.Shards {
				endpoints = append(endpoints, s.Endpoint)
			}
			if got := shown(p); got != tc.want || strings.Join(endpoints, " ") != tc.endpoints {
				t.Errorf("got  %s at %s\nwant %s at %s", got, endpoints, tc.want, tc.endpoints)
			}
			if !slices.Equal(p.Remarks, tc.remarks) {
				t.Errorf("remarks %q\nwant %q", p.Remarks, tc.remarks)
			}
		})
	}
}

// TestRefused: what cannot be is refused, with place and reason, and several
// things at once.
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		toml string
		want []string
	}{
		"no endpoint":           {"shards = 2", []string{"endpoints", "empty"}},
		"negative shards":       {"endpoints = 'tcp://h:1+'\nshards = -1", []string{"shards: -1"}},
		"tables and number":     {"endpoints = 'tcp://h:1+'\nshards = 3\n[[shard]]", []string{"shards: 3", "1 [[shard]]"}},
		"one for two":           {"endpoints = 'tcp://h:1'\nshards = 2", []string{"one endpoint for 2 shards"}},
		"endpoints twice":       {"endpoints = 'tcp://h:1'\n[[shard]]\nendpoint = 'tcp://h:1'", []string{"one or the other"}},
		"endpoints in part":     {"[[shard]]\nendpoint = 'tcp://h:1'\n[[shard]]", []string{"1 of 2 have an endpoint"}},
		"a list for one":        {"[[shard]]\nendpoint = 'tcp://h:1,tcp://h:2'", []string{"shard 0", "is a list"}},
		"the same endpoint":     {"[[shard]]\nendpoint = 'tcp://h:1'\n[[shard]]\nendpoint = 'tcp://H:1'\ninterface = 'lo'", []string{"entry 2", "same endpoint as entry 1"}},
		"no such interface":     {"endpoints = 'tcp://h:1'\ninterface = 'eth9'", []string{"shard 0", "eth9", "lo, eth1, eth2"}},
		"in the endpoint":       {"endpoints = 'tcp://eth9;h:1'", []string{"shard 0", "eth9"}},
		"not an address here":   {"endpoints = 'tcp://10.9.9.9;h:1'", []string{"10.9.9.9"}},
		"interface for ipc":     {"endpoints = 'ipc:///tmp/x'\ninterface = 'lo'", []string{"shard 0: interface"}},
		"multicast interface":   {"endpoints = 'epgm://eth9;239.0.0.1:5'", []string{"eth9"}},
		"without pgm":           {"endpoints = 'pgm://eth1;239.0.0.1:5'", []string{"built without pgm"}},
		"a CPU that is not":     {"endpoints = 'tcp://h:1'\n[[shard]]\nio_cpu = 32", []string{"shard 0: io_cpu", "CPU 32", "not on this machine", "0-31"}},
		"a forbidden CPU":       {"endpoints = 'tcp://h:1'\n[[shard]]\nreceive_cpu = 8", []string{"shard 0: receive_cpu", "CPU 8", "may use (0-7)"}},
		"forbidden for workers": {"endpoints = 'tcp://h:1'\nworkers.cpus = '7-8'", []string{"worker 1", "CPU 8", "may use"}},
		"forbidden in general":  {"endpoints = 'tcp://h:1'\ncpus = '4-9'", []string{"cpus: CPU 8"}},
		"bad list":              {"endpoints = 'tcp://h:1'\ncpus = 'all'", []string{"cpus", "all"}},
		"bad workers' list":     {"endpoints = 'tcp://h:1'\nworkers.cpus = 'all'", []string{"workers: cpus", "all"}},
		"workers and CPUs":      {"endpoints = 'tcp://h:1'\nworkers = {count = 3, cpus = '1-2'}", []string{"2 CPUs (1-2) for 3 workers"}},
		"negative workers":      {"endpoints = 'tcp://h:1'\nworkers.count = -3", []string{"count: -3"}},
		"too many workers":      {"endpoints = 'tcp://h:1'\nworkers.count = 1000000000000", []string{"count: 1000000000000"}},
		"too many files":        {"endpoints = 'tcp://h:1+'\nshards = 61", []string{"61 shards need 1040 open files, the limit is 1024"}},
		"all of it": {"endpoints = 'tcp://eth9;h:1'\n[[shard]]\nio_cpu = 8\nreceive_cpu = 9",
			[]string{"eth9", "io_cpu: CPU 8", "receive_cpu: CPU 9"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse([]byte(tc.toml))
			if err != nil {
				t.Fatal(err)
			}
			m := machine(t, "16cores", "0-7")
			m.OpenFiles, m.Lacks = 1024, []string{"pgm"}
			_, err = c.Plan(m)
			if err == nil {
				t.Fatal("planned")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"endpoints =":               "line 1",
		"\nendpoints = 3":           "line 2",
		"io_cpus = 2":               "unknown setting io_cpus",
		"[[shard]]\niocpu = 2":      "unknown setting shard.iocpu",
		"[[shard]]\nio_cpu = -1":    "CPU -1, want 0 to 1023",
		"[[shard]]\nio_cpu = 1024":  "CPU 1024",
		"[[shard]]\nio_cpu = 'any'": "CPU any",
		"[[shard]]\nio_cpu = 1.5":   "CPU 1.5",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "placement: ") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: no file makes the reader or the planner panic, and a plan keeps to
// what is allowed and never puts a shard's two threads on one CPU by itself.
func FuzzParse(f *testing.F) {
	f.Add("endpoints = 'tcp://h:1+'\nshards = 3\ncpus = '1-6'\nworkers.count = 2\n[[shard]]\nio_cpu = 2\n[[shard]]\n[[shard]]")
	f.Add("[[shard]]\nendpoint = 'ipc://x'\nreceive_cpu = 'none'")
	m := machine(f, "2sockets", "1-9,20-30")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse([]byte(text))
		if err != nil || c.Shards > 100 {
			return
		}
		p, err := c.Plan(m)
		if err != nil {
			return
		}
		for i, s := range p.Shards {
			for _, cpu := range []shard.CPU{s.IO, s.Receive} {
				if cpu != shard.NoCPU && !m.Allowed.Contains(cpu) {
					t.Errorf("shard %d on CPU %v", i, cpu)
				}
			}
			chosen := i >= len(c.Shard) || c.Shard[i].IOCPU == Choice{} || c.Shard[i].ReceiveCPU == Choice{}
			if chosen && s.IO == s.Receive && s.IO != shard.NoCPU {
				t.Errorf("shard %d: both threads on CPU %v", i, s.IO)
			}
		}
		for i, cpu := range p.Workers {
			if cpu != shard.NoCPU && !m.Allowed.Contains(cpu) {
				t.Errorf("worker %d on CPU %v", i, cpu)
			}
		}
	})
}
