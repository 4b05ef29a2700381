/*
 * peer.h
 *	  What the programs that measure a library share: reading vectors, and the
 *	  conversation with bench/compare.
 *
 * A program is called with a folder (train.npy and test.npy, float32), a metric
 * (l2 or cosine) and the parameters of its index.  It builds the index and prints
 * the seconds that took and the bytes it has; then for each number on its standard
 * input, the library's counterpart of ef_search, the seconds that all questions
 * took, one after the other in one thread, and ten ids of each.  They are asked
 * twice, and the second time counts: servers are warmed up too.
 */
#ifndef PEER_H
#define PEER_H

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

constexpr size_t neighbours = 10;

struct Vectors
{
	size_t		rows = 0;
	size_t		dims = 0;
	std::vector<float> data;

	const float *operator[] (size_t i) const
	{
		return &data[i * dims];
	}
	/* The file's rows, of length 1 where the metric is the cosine. */
	Vectors(const std::string &path, const std::string &metric)
	{
		FILE	   *file = fopen(path.c_str(), "rb");
		unsigned char start[10];
		std::string header;
		size_t		shape;

		if (file == nullptr || fread(start, 1, 10, file) != 10)
			fail("cannot read " + path);
		header.resize(start[8] | start[9] << 8);
		if (fread(&header[0], 1, header.size(), file) != header.size() ||
			header.find("'<f4'") == std::string::npos ||
			(shape = header.find("'shape': (")) == std::string::npos ||
			sscanf(&header[shape], "'shape': (%zu, %zu)", &rows, &dims) != 2)
			fail(path + " is no array of float32 with two dimensions");
		data.resize(rows * dims);
		if (fread(data.data(), sizeof(float), data.size(), file) != data.size())
			fail(path + " is too short");
		fclose(file);
		for (size_t i = 0; i < rows && metric == "cosine"; i++)
			normalize(&data[i * dims]);
	}
	[[noreturn]] static void fail(const std::string &what)
	{
		std::cerr << what << std::endl;
		exit(1);
	}
	void normalize(float *x) const
	{
		double		sum = 0;

		for (size_t j = 0; j < dims; j++)
			sum += (double) x[j] * x[j];
		for (size_t j = 0; j < dims && sum > 0; j++)
			x[j] /= std::sqrt(sum);
	}
};

inline double
seconds()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/*
 * The conversation.  build() returns the bytes of the index; width(n) sets the
 * counterpart of ef_search; search(question, ids) finds ten ids, -1 where there
 * are fewer.
 */
template <class Build, class Width, class Search>
void
converse(const Vectors &questions, Build build, Width width, Search search)
{
	std::vector<int64_t> ids(questions.rows * neighbours);
	double		begun = seconds();
	size_t		bytes = build();
	long		value;

	std::cout << seconds() - begun << " " << bytes << std::endl;
	while (std::cin >> value)
	{
		width(value);
		for (int pass = 0; pass < 2; pass++)
		{
			begun = seconds();
			for (size_t i = 0; i < questions.rows; i++)
				search(questions[i], &ids[i * neighbours]);
		}
		std::cout << seconds() - begun;
		for (int64_t id : ids)
			std::cout << " " << id;
		std::cout << std::endl;
	}
}

#endif							/* PEER_H */
