/*
 * faiss.cpp
 *	  An index of FAISS, as its factory names it: faiss FOLDER METRIC DESCRIPTION K_FACTOR
 *
 * The number asked for is efSearch of a graph, and nprobe of lists; an index that
 * refines takes K_FACTOR times the answers first.
 */
#include <faiss/AutoTune.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <faiss/impl/io.h>
#include <memory>
#include <omp.h>

#include "peer.h"

int
main(int argc, char **argv)
{
	if (argc != 5)
		Vectors::fail("usage: faiss FOLDER METRIC DESCRIPTION K_FACTOR");

	std::string folder = argv[1];
	std::string metric = argv[2];
	std::string description = argv[3];
	Vectors		train(folder + "/train.npy", metric);
	Vectors		questions(folder + "/test.npy", metric);
	std::unique_ptr<faiss::Index> index(faiss::index_factory(train.dims, description.c_str()));
	faiss::ParameterSpace parameters;
	float		distances[neighbours];

	omp_set_num_threads(1);
	converse(questions,
			 [&]() {
				 faiss::VectorIOWriter bytes;

				 index->train(train.rows, train.data.data());
				 index->add(train.rows, train.data.data());
				 faiss::write_index(index.get(), &bytes);
				 return bytes.data.size();
			 },
			 [&](long n) {
				 if (description.find("RFlat") != std::string::npos)
					 parameters.set_index_parameter(index.get(), "k_factor_rf", atoi(argv[4]));
				 parameters.set_index_parameter(
					 index.get(), description.find("HNSW") == 0 ? "efSearch" : "nprobe", n);
			 },
			 [&](const float *question, int64_t *ids) {
				 index->search(1, question, neighbours, distances, ids);
			 });
	return 0;
}
