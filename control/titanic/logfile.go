package titanic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// Errors of a log that is opened.
var (
	// ErrLog: the file is no job log.
	ErrLog = errors.New("titanic: not a job log")
	// ErrVersion: the log was written by a newer version.
	ErrVersion = errors.New("titanic: job log of an unknown version")
	// ErrDamaged: a part of the log that had been synced cannot be read. The error is
	// a *DamageError.
	ErrDamaged = errors.New("titanic: job log is damaged")
)

// DamageError says which part of a log cannot be read although it was synced.
type DamageError struct {
	Name     string
	From, To int64 // bytes from the log's beginning
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %s, bytes %d to %d: what they said of jobs is lost; restore the file, or open it with salvage", ErrDamaged, e.Name, e.From, e.To)
}

// Is makes the error match ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// The beginning of a log. All integers are little-endian.
//
//	 0  4   signature "TPJL"
//	 4  u8  version, 2
//	 5  3   zero
//	 8  u64 identity of this log, random, not 0: records of another do not pass
//	16  i64 time at which it was begun, ns
//	24  u64 number of the next job, as of then
//	32  u64 epoch of who writes it
//	40  20  zero
//	60  u32 CRC32C of the 60 bytes before
//
// A log of version 1 has no epoch. A header with neither an identity nor an epoch is
// the mark, which stands where such a log was.
const (
	logHeader    = 64
	logSignature = "TPJL"
	logVersion   = 2
	logEpochless = 1
)

// logFile is a log on the disk, with space reserved beyond what is in use.
type logFile struct {
	f        fsys.File
	name     string // in its directory, when it is in force
	epoch    uint64 // of who writes it; 0: of a version that knew none
	identity uint64
	next     uint64 // number of the next job, as the header has it
	size     int64  // of the file
	end      int64  // where the next record goes
	synced   int64  // up to here everything is on the disk
	sequence uint64 // of the next record
	readers  int    // store.mu
	retired  bool   // store.mu; whoever reads last closes it
}

// createLog begins a log under its temporary name, with room for size bytes.
func createLog(fsx fsys.FS, dir string, epoch uint64, size int64, identity, next uint64, now int64) (*logFile, error) {
	l := &logFile{name: logName(epoch), epoch: epoch, identity: identity, next: next, end: logHeader}
	name := dir + "/" + l.name + fsys.TemporarySuffix
	if err := remove(fsx, name); err != nil {
		return nil, err
	}
	f, err := fsx.Open(name, fsys.Create)
	if err != nil {
		return nil, err
	}
	l.f = f
	if err := errors.Join(l.reserve(size), l.writeHeader(now)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *logFile) writeHeader(now int64) error {
	_, err := l.f.WriteAt(l.header(now), 0)
	return err
}

func (l *logFile) header(now int64) []byte {
	b := append(make([]byte, 0, logHeader), logSignature...)
	b = append(b, logVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, l.identity)
	b = binary.LittleEndian.AppendUint64(b, uint64(now))
	b = binary.LittleEndian.AppendUint64(b, l.next)
	b = binary.LittleEndian.AppendUint64(b, l.epoch)
	b = append(b, make([]byte, 20)...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openLog opens the log of an epoch and reads its header.
func openLog(fsx fsys.FS, dir string, epoch uint64) (*logFile, error) {
	l := &logFile{name: logName(epoch), end: logHeader}
	f, err := fsx.Open(dir+"/"+l.name, fsys.Write)
	if err != nil {
		return nil, err
	}
	l.f = f
	if err = l.readHeader(); err == nil && l.epoch != epoch {
		err = fmt.Errorf("%w: it is of epoch %d", ErrLog, l.epoch)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s/%s: %w", dir, l.name, err), f.Close())
	}
	return l, nil
}

// mark reports whether it is only the mark that there are logs with epochs.
func (l *logFile) mark() bool { return l.identity == 0 }

// openSource opens the log in force; nil where there is none. The log of a version
// without epochs is the one as long as it is there: it is replaced by the mark before
// anybody is told what another one has.
func openSource(fsx fsys.FS, dir string) (l *logFile, err error) {
	marked := false
	for range claimTries {
		l, err = openLog(fsx, dir, 0)
		switch {
		case err == nil && !l.mark():
			return l, nil
		case err == nil:
			marked = true
			if err := l.f.Close(); err != nil {
				return nil, err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		n, err := listNames(fsx, dir)
		if err != nil {
			return nil, err
		}
		if len(n.logs) == 0 {
			if !marked {
				return nil, nil
			}
			continue // while names change, a list of them may miss both the old and the new
		}
		l, err := openLog(fsx, dir, greatest(n.logs))
		if !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
	return nil, fmt.Errorf("%w: %s/%s says that there is one, and there is none", ErrLog, dir, markName)
}

func (l *logFile) readHeader() (err error) {
	if l.size, err = l.f.Size(); err != nil {
		return err
	}
	if l.size < logHeader {
		return fmt.Errorf("%w: it has %d bytes", ErrLog, l.size)
	}
	b := make([]byte, logHeader)
	if _, err := l.f.ReadAt(b, 0); err != nil {
		return err
	}
	switch {
	case string(b[:4]) != logSignature:
		return fmt.Errorf("%w: no signature", ErrLog)
	case b[4] != logVersion && b[4] != logEpochless:
		return fmt.Errorf("%w: %d, this program knows %d", ErrVersion, b[4], logVersion)
	case crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]):
		return fmt.Errorf("%w: wrong checksum of its header", ErrLog)
	}
	l.identity, l.next = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[24:])
	if b[4] == logVersion {
		l.epoch = binary.LittleEndian.Uint64(b[32:])
	}
	if l.identity == 0 && (b[4] == logEpochless || l.epoch != 0) {
		return fmt.Errorf("%w: it has no identity", ErrLog)
	}
	return nil
}

// reserve makes the file have at least size bytes.
func (l *logFile) reserve(size int64) error {
	if size <= l.size {
		return nil
	}
	if err := l.f.Allocate(size); err != nil {
		return err
	}
	l.size = size
	return nil
}
