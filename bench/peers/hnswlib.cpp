/*
 * hnswlib.cpp
 *	  hnswlib's index: hnswlib FOLDER METRIC M EF_CONSTRUCTION
 */
#include <hnswlib/hnswlib.h>

#include "peer.h"

int
main(int argc, char **argv)
{
	if (argc != 5)
		Vectors::fail("usage: hnswlib FOLDER METRIC M EF_CONSTRUCTION");

	std::string folder = argv[1];
	std::string metric = argv[2];
	Vectors		train(folder + "/train.npy", metric);
	Vectors		questions(folder + "/test.npy", metric);
	hnswlib::L2Space l2(train.dims);
	hnswlib::InnerProductSpace ip(train.dims);
	hnswlib::SpaceInterface<float> *space = &l2;

	if (metric == "cosine")
		space = &ip;

	hnswlib::HierarchicalNSW<float> index(space, train.rows, atoi(argv[3]), atoi(argv[4]));

	converse(questions,
			 [&]() {
				 for (size_t i = 0; i < train.rows; i++)
					 index.addPoint(train[i], i);
				 return index.max_elements_ * index.size_data_per_element_;
			 },
			 [&](long ef) { index.setEf(ef); },
			 [&](const float *question, int64_t *ids) {
				 auto found = index.searchKnn(question, neighbours);

				 std::fill(ids, ids + neighbours, -1);
				 for (size_t i = found.size(); i > 0; i--, found.pop())
					 ids[i - 1] = found.top().second;
			 });
	return 0;
}
