package sim

import "time"

// trouble does to processes and links what happens to them.
type trouble struct {
	w         *World
	processes []*Process
	links     [][]*link // that fail together, such as both ways between two
	clocks    bool      // clocks are set, too
	disks     bool      // machines lose power, and disks are full
	flaps     bool      // connections break
	longest   time.Duration
	over      bool
}

// run makes trouble for as long as it takes, with pauses of at most pace.
func (t *trouble) run(d, pace time.Duration) {
	for _, group := range t.links {
		bad := roughly(t.w)
		for _, l := range group {
			l.weather = bad
		}
	}
	t.w.Every(func() time.Duration { return t.w.Between(0, pace) }, func() bool {
		if !t.over {
			t.one()
		}
		return !t.over
	})
	t.w.Run(d)
}

// end ends it: everything is well from now on.
func (t *trouble) end() {
	t.over = true
	t.w.Logf("calm")
	for _, group := range t.links {
		for _, l := range group {
			l.weather, l.cut = calm, false
		}
	}
	for _, p := range t.processes {
		if p.disk.Failing() {
			p.Kill()
		}
		p.disk.Limit(0)
		p.Continue()
		p.Start()
	}
}

// one makes one trouble, and an end to it later.
func (t *trouble) one() {
	w := t.w
	later := func(do func()) {
		w.After(w.Between(0, t.longest), func() {
			if !t.over {
				do()
			}
		})
	}
	if t.flaps && w.Chance(0.2) {
		w.flap()
		return
	}
	if len(t.links) > 0 && w.Chance(0.6) {
		t.onLinks(t.links[w.IntN(len(t.links))], later)
		return
	}
	p := t.processes[w.IntN(len(t.processes))]
	switch k := w.IntN(10); {
	case k < 3:
		p.Kill()
		later(p.Start)
	case k < 5:
		p.Stop()
		later(p.Continue)
	case k == 5 && t.disks:
		p.disk.LosePowerAfter(w.IntN(10)) // in the middle of something
		disk := p.disk
		w.After(w.Between(0, 50*time.Millisecond), func() {
			if p.disk == disk && !t.over {
				p.LosePower()
				later(p.Start)
			}
		})
	case k == 6 && t.disks:
		w.Logf("%s: the disk is full", p.name)
		p.disk.Limit(1)
		later(func() { p.disk.Limit(0) })
	case k >= 7 && t.clocks:
		p.SetClock(w.Between(-time.Hour, time.Hour) / one(w, time.Duration(1), 60, 3600, 36000))
	}
}

// onLinks makes trouble on links that belong together: on all, or only one way.
func (t *trouble) onLinks(group []*link, later func(func())) {
	w := t.w
	if w.Chance(0.4) {
		bad := roughly(w)
		if w.Chance(0.3) {
			group = group[w.IntN(len(group)):][:1]
		}
		for _, l := range group {
			l.weather = bad
		}
		return
	}
	if w.Chance(0.4) {
		group = group[w.IntN(len(group)):][:1]
	}
	for _, l := range group {
		w.Logf("%s to %s: cut", l.from.name, l.to.name)
		l.cut = true
	}
	later(func() {
		for _, l := range group {
			w.Logf("%s to %s: whole again", l.from.name, l.to.name)
			l.cut = false
		}
	})
}
