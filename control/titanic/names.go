package titanic

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// What lies in the directory of a log. Every name that a writer writes to has its
// epoch in it, so that two of them never write under the same one, whatever each
// believes.
const (
	// markName was the log of versions that knew no epochs. Now it is a header
	// without a log, which such a version refuses.
	markName = "jobs.log"

	logPrefix, logSuffix = "jobs-", ".log" // with the epoch between them: a log
	claimPrefix          = "epoch-"        // then the epoch: who has it, or wants it
	claimNew             = claimPrefix + "new-"
	markPrefix           = "mark-"     // then the epoch: a mark before it has its name
	tornInfix            = ".torn-"    // behind a log's name, then the place that it was cut off at
	damagedInfix         = ".damaged-" // behind a log's name, then its identity
)

// logName is the name of the log of an epoch; 0 is that of versions without any.
func logName(epoch uint64) string {
	if epoch == 0 {
		return markName
	}
	return logPrefix + strconv.FormatUint(epoch, 10) + logSuffix
}

func claimName(epoch uint64) string { return claimPrefix + strconv.FormatUint(epoch, 10) }

// names are the names in the directory of a log, by epoch, the lowest first.
type names struct {
	claims, logs []uint64
	unfinished   map[string]uint64 // logs and marks that were being written
	abandoned    []string          // claims that came to nothing
}

func listNames(fsx fsys.FS, dir string) (n names, err error) {
	entries, err := fsx.List(dir)
	if err != nil {
		return n, err
	}
	n.unfinished = map[string]uint64{}
	for _, e := range entries {
		log, writing := strings.CutSuffix(e.Name, fsys.TemporarySuffix)
		if epoch, ok := epochIn(log, markPrefix, ""); ok {
			n.unfinished[e.Name] = epoch
		}
		if epoch, ok := epochIn(e.Name, claimPrefix, ""); ok {
			n.claims = append(n.claims, epoch)
		} else if epoch, ok := epochIn(log, logPrefix, logSuffix); ok && writing {
			n.unfinished[e.Name] = epoch
		} else if ok {
			n.logs = append(n.logs, epoch)
		} else if writing && strings.HasPrefix(e.Name, claimNew) {
			n.abandoned = append(n.abandoned, e.Name)
		}
	}
	slices.Sort(n.claims)
	slices.Sort(n.logs)
	return n, nil
}

// epochIn reads the epoch between a prefix and a suffix; ok is false where there is
// none, written as it would be written here.
func epochIn(name, prefix, suffix string) (epoch uint64, ok bool) {
	text, before := strings.CutPrefix(name, prefix)
	text, behind := strings.CutSuffix(text, suffix)
	epoch, err := strconv.ParseUint(text, 10, 64)
	return epoch, before && behind && err == nil && epoch > 0 && strconv.FormatUint(epoch, 10) == text
}

// last is the greatest epoch that any name has; 0 before there was one.
func (n *names) last() uint64 { return max(greatest(n.claims), greatest(n.logs)) }

func greatest(sorted []uint64) uint64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)-1]
}

// remove removes a name, which may have gone already.
func remove(fsx fsys.FS, name string) error {
	if err := fsx.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeBefore removes what earlier epochs have left: logs, of which the one of epoch
// is in force, and those that were never finished.
func (n *names) removeBefore(fsx fsys.FS, dir string, epoch uint64) error {
	var errs []error
	for _, old := range n.logs {
		if old < epoch {
			errs = append(errs, remove(fsx, dir+"/"+logName(old)))
		}
	}
	for name, old := range n.unfinished {
		if old < epoch {
			errs = append(errs, remove(fsx, dir+"/"+name))
		}
	}
	return errors.Join(errs...)
}
