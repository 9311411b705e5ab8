package zsock

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

// libzmq allocates the memory of each large message and frees it soon after. By
// default glibc gives such memory back to the kernel at once, and takes it page
// by page, zeroed, for the next message: a third of the CPU time of a stream of
// 256 KiB batches. Keeping some of it costs at most what was in use before.
static void td_keep_memory(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 32 << 20); // the most that glibc takes
	mallopt(M_TRIM_THRESHOLD, 128 << 20);
	mallopt(M_TOP_PAD, 4 << 20);
#endif
}
*/
import "C"

// init tells the C library, whose memory libzmq uses, to keep what messages
// free. BenchmarkBatch and bench throughput show what it is worth.
func init() { C.td_keep_memory() }
