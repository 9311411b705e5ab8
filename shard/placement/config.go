package placement

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/tapedeck/tapedeck/shard"
)

// Config is a placement as people write it. The zero value of a field means its
// default.
type Config struct {
	// Endpoints is a pattern, as shard.Endpoints takes it. Not with an endpoint in
	// every Shard.
	Endpoints string `toml:"endpoints"`
	// Shards is the number of shards. Default: as many as Shard has, or 1.
	Shards int `toml:"shards"`
	// Interface is the interface, or its address, that all shards connect from.
	// Default: the system chooses.
	Interface string `toml:"interface"`
	// CPUs is what may be chosen from: "auto", all that the process may use;
	// "off", no thread is pinned but where Shard or Workers say so; or a list such
	// as "2-9". Default "auto".
	CPUs string `toml:"cpus"`
	// Workers are behind the receive loops.
	Workers Workers `toml:"workers"`
	// Shard says more of each shard, in order. Default: nothing.
	Shard []Shard `toml:"shard"`
}

// Workers is what a Config says of workers.
type Workers struct {
	// Count is how many. Default: as many as CPUs lists, or none.
	Count int `toml:"count"`
	// Dispatch is "by-topic" or "any". Default: the reader's.
	Dispatch string `toml:"dispatch"`
	// CPUs is "auto", "off", or a list with a CPU for each worker. Default: as
	// Config.CPUs has it.
	CPUs string `toml:"cpus"`
}

// Shard is what a Config says of one shard.
type Shard struct {
	Endpoint   string `toml:"endpoint"`    // instead of Config.Endpoints
	Interface  string `toml:"interface"`   // instead of Config.Interface
	IOCPU      Choice `toml:"io_cpu"`      // of the I/O thread
	ReceiveCPU Choice `toml:"receive_cpu"` // of the loop
}

// Choice is a CPU, or how to come by one. The zero value leaves it to
// Config.CPUs. In TOML it is a number, "auto", which is the same, or "none".
type Choice struct {
	kind choiceKind
	cpu  shard.CPU
}

type choiceKind uint8

const (
	choiceAuto choiceKind = iota
	choiceNone
	choiceCPU
)

// On is the choice of one CPU; of shard.NoCPU it is the choice not to pin.
func On(cpu shard.CPU) Choice {
	if cpu == shard.NoCPU {
		return Choice{kind: choiceNone}
	}
	return Choice{choiceCPU, cpu}
}

// UnmarshalTOML implements toml.Unmarshaler.
func (c *Choice) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		if v < 0 || v >= shard.CPUMax {
			return fmt.Errorf("CPU %d, want 0 to %d", v, shard.CPUMax-1)
		}
		*c = On(shard.CPU(v))
		return nil
	case string:
		switch v {
		case "auto":
			*c = Choice{}
			return nil
		case "none":
			*c = On(shard.NoCPU)
			return nil
		}
	}
	return fmt.Errorf(`CPU %v, want a number, "auto" or "none"`, v)
}

// Parse reads a Config from TOML. What it does not know it refuses: a setting that
// is misspelt would do nothing.
func Parse(text []byte) (Config, error) {
	var c Config
	meta, err := toml.Decode(string(text), &c)
	if err != nil {
		var bad toml.ParseError
		if errors.As(err, &bad) {
			return Config{}, fmt.Errorf("placement: line %d: %s", bad.Position.Line, bad.Message)
		}
		return Config{}, fmt.Errorf("placement: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		names := make([]string, len(unknown))
		for i, k := range unknown {
			names[i] = k.String()
		}
		return Config{}, fmt.Errorf("placement: unknown setting %s", strings.Join(names, ", "))
	}
	return c, nil
}

// endpoints returns the endpoint of each shard, with where it connects from.
func (c *Config) endpoints() ([]string, error) {
	n, list := c.shards(), c.Endpoints
	own := 0
	for _, s := range c.Shard {
		if s.Endpoint != "" {
			own++
		}
	}
	switch {
	case c.Shards < 0:
		return nil, fmt.Errorf("shards: %d, want 1 or more", c.Shards)
	case len(c.Shard) > 0 && len(c.Shard) != n:
		return nil, fmt.Errorf("shards: %d, and there are %d [[shard]] tables", n, len(c.Shard))
	case own > 0 && c.Endpoints != "":
		return nil, errors.New("endpoints: given for all and for single shards; want one or the other")
	case own > 0 && own != n:
		return nil, fmt.Errorf("shard: %d of %d have an endpoint", own, n)
	case own > 0:
		each := make([]string, n)
		for i, s := range c.Shard {
			if strings.Contains(s.Endpoint, ",") {
				return nil, fmt.Errorf("shard %d: endpoint: one is wanted, %q is a list", i, s.Endpoint)
			}
			each[i] = s.Endpoint
		}
		list = strings.Join(each, ",")
	}
	endpoints, err := shard.Endpoints(list, n)
	if err != nil {
		return nil, fmt.Errorf("endpoints: %w", err)
	}
	var errs []error
	for i := range endpoints {
		source := c.Interface
		if i < len(c.Shard) && c.Shard[i].Interface != "" {
			source = c.Shard[i].Interface
		}
		if source == "" {
			continue
		}
		if endpoints[i], err = shard.From(endpoints[i], source); err != nil {
			errs = append(errs, fmt.Errorf("shard %d: interface: %w", i, err))
		}
	}
	return endpoints, errors.Join(errs...)
}

func (c *Config) shards() int {
	if c.Shards == 0 {
		return max(len(c.Shard), 1)
	}
	return c.Shards
}
